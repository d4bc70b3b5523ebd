"""A prompt goes to models of 7B and 70B shape in little more memory than the embedding tables."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import pytest
from tests.large import save_large

from promptport.backbone import open_space

GIGABYTE = 10**9
SCRIPT = """
import json, re, resource, sys
from promptport.backbone import open_space
from promptport.prompt import SoftPrompt
from promptport.provenance import Provenance
from promptport.transfers import transfer
source, target = open_space("nano-bert"), open_space(sys.argv[1])
vectors = source.rows(list(source.words.values())[:20])
made = Provenance(source.backbone, fingerprint=source.fingerprint, template="{soft} {text}")
done = transfer(SoftPrompt(vectors, made), source, target)
if sys.platform == "linux":  # ru_maxrss would count what the parent had when it started us
    peak = re.search(r"VmHWM:\\s*(\\d+) kB", open("/proc/self/status").read())[1]
    peak = int(peak) * 1024
else:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps({
    "peak": peak,
    "tables": source.matrix.nbytes + target.matrix.nbytes,
    "fingerprint": target.fingerprint,
    "width": done.prompt.vectors.shape[1],
    "matching": done.report.matching,
    "anchors": done.report.anchors,
}))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rows", "width", "layers"),
    [pytest.param(32_000, 4096, 32, id="7B"), pytest.param(128_256, 8192, 80, id="70B")],
)
def test_memory_of_a_port_to_a_large_model(tmp_path, rows, width, layers) -> None:
    if shutil.disk_usage(tmp_path).free < 8 * GIGABYTE:
        pytest.skip("needs 8 GB of disk")
    words = open_space("nano-bert").words
    folder = save_large(tmp_path / "large", rows=rows, width=width, layers=layers, words=words)
    try:
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT, str(folder)], capture_output=True, text=True, check=True
        )
    finally:
        shutil.rmtree(folder)
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["width"] == width
    assert found["anchors"] > 5000
    over = found["peak"] - found["tables"]
    print(f"peak {found['peak'] / 1e6:.0f} MB, tables {found['tables'] / 1e6:.0f} MB")  # noqa: T201
    assert over <= GIGABYTE, f"{over / 1e6:.0f} MB more than the two tables"
