"""`GET /`: the dashboard, a static page that reads the server's own endpoints."""

from pathlib import Path

from fastapi import APIRouter
from starlette.responses import FileResponse

router = APIRouter(include_in_schema=False)

_FOLDER = Path(__file__).parents[1] / "dashboard"
_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src data: blob:; connect-src 'self' data:; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}


@router.get("/")
async def page() -> FileResponse:
    return FileResponse(_FOLDER / "index.html", headers=_HEADERS)


@router.get("/dashboard/dashboard.css")
async def style() -> FileResponse:
    return FileResponse(_FOLDER / "dashboard.css", headers=_HEADERS)


@router.get("/dashboard/dashboard.js")
async def script() -> FileResponse:
    return FileResponse(_FOLDER / "dashboard.js", headers=_HEADERS)
