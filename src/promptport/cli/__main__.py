"""`python -m promptport.cli` is the command `promptport`."""

from promptport.cli import main

main()
