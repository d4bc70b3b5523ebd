"""The pages. Each function shows one; what stands on it comes from `facts` and from jobs."""

from promptport.app.views.routes import add_pages

__all__ = ["add_pages"]
