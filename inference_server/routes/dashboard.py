"""`GET /`: the dashboard, static pages and scripts that read the server's own endpoints; `GET /docs` without a CDN."""

import base64
import hashlib
import re
from pathlib import Path

from fastapi import APIRouter, Request
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.responses import FileResponse, HTMLResponse

import grasp_client.viewer
from inference_server.errors import ServerError

router = APIRouter(include_in_schema=False)

_FOLDER = Path(__file__).parents[1] / "dashboard"
_VIEWER = Path(grasp_client.viewer.__file__).parent
_FILES = {path.relative_to(_FOLDER).as_posix(): path for path in _FOLDER.rglob("*") if path.is_file()}
_FILES |= {f"viewer/{path.relative_to(_VIEWER).as_posix()}": path for path in _VIEWER.rglob("*.js")}


def _policy(scripts: str) -> str:
    return (
        f"default-src 'self'; script-src 'self' {scripts}; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
        "connect-src 'self' data: blob:; frame-ancestors 'none'"
    )


def _hashes(page: str) -> str:
    """Scripts come from this server alone; those inside a page are named by their hashes."""
    inside = re.findall(r"<script(?: type=\"importmap\")?>(.*?)</script>", page, re.DOTALL)
    return " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" for text in inside)


_COMMON = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-cache"}
_HEADERS = {"Content-Security-Policy": _policy(_hashes(_FILES["index.html"].read_text())), **_COMMON}


@router.get("/")
async def page() -> FileResponse:
    return FileResponse(_FILES["index.html"], headers=_HEADERS)


@router.get("/docs")
async def docs(request: Request) -> HTMLResponse:
    """The HTTP interface to read and try."""
    shown = get_swagger_ui_html(
        openapi_url="openapi.json",
        title=f"{request.app.title}: HTTP interface",
        swagger_js_url="dashboard/vendor/swagger-ui-bundle.js",
        swagger_css_url="dashboard/vendor/swagger-ui.css",
        swagger_favicon_url="data:,",
    )
    policy = _policy(_hashes(bytes(shown.body).decode()))
    return HTMLResponse(shown.body, headers={"Content-Security-Policy": policy, **_COMMON})


@router.get("/dashboard/{name:path}")
async def part(name: str) -> FileResponse:
    """Raises ServerError 404 for what is no part of the dashboard."""
    if name not in _FILES:
        raise ServerError(404, "not_found", f"the dashboard has no {name[:100]!r}")
    return FileResponse(_FILES[name], headers=_HEADERS)
