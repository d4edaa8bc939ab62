"""`GET /`: the dashboard, static pages and scripts that read the server's own endpoints."""

import base64
import hashlib
import re
from pathlib import Path

from fastapi import APIRouter
from starlette.responses import FileResponse

from inference_server.errors import ServerError

router = APIRouter(include_in_schema=False)

_FOLDER = Path(__file__).parents[1] / "dashboard"
_FILES = {str(path.relative_to(_FOLDER)): path for path in _FOLDER.rglob("*") if path.is_file()}


def _policy() -> str:
    """Scripts come from this server alone; the one inside the page, a map of modules, is named by its hash."""
    inside = re.findall(r"<script type=\"importmap\">(.*?)</script>", _FILES["index.html"].read_text(), re.DOTALL)
    hashes = " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" for text in inside)
    return (
        f"default-src 'self'; script-src 'self' {hashes}; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
        "connect-src 'self' data: blob:; frame-ancestors 'none'"
    )


_HEADERS = {"Content-Security-Policy": _policy(), "X-Content-Type-Options": "nosniff", "Cache-Control": "no-cache"}


@router.get("/")
async def page() -> FileResponse:
    return FileResponse(_FILES["index.html"], headers=_HEADERS)


@router.get("/dashboard/{name:path}")
async def part(name: str) -> FileResponse:
    """Raises ServerError 404 for what is no part of the dashboard."""
    if name not in _FILES:
        raise ServerError(404, "not_found", f"the dashboard has no {name[:100]!r}")
    return FileResponse(_FILES[name], headers=_HEADERS)
