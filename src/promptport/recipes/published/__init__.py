"""Numbers that papers have published, to stand beside ours."""

from promptport.recipes.published.reading import PAPERS, PublishedRow, published

__all__ = ["PAPERS", "PublishedRow", "published"]
