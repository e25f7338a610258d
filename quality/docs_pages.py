"""Great Expectations glue: Data Docs that need nothing from the Internet.

Its own pages load style sheets and scripts from public CDNs, and the index is empty without them. Ours are rendered
from the same blocks: `docs_templates/` stands before its templates, and what is not there is taken from them.
"""

from pathlib import Path

from great_expectations.render.view.view import DefaultJinjaPageView
from jinja2 import ChoiceLoader, FileSystemLoader

TEMPLATES = Path(__file__).with_name("docs_templates")


class Page(DefaultJinjaPageView):
    """A page of any kind, the index included."""

    def __init__(self, **directories: str | None) -> None:
        super().__init__(**directories)
        self.env.loader = ChoiceLoader([FileSystemLoader(TEMPLATES), *filter(None, [self.env.loader])])
