"""Where things of the repository lie."""

from pathlib import Path

ROOT = Path(__file__).parents[1]
SHIPPED = ROOT / "models"
"""The weights that ship."""
