"""Where an estate stands: in a lab, in staging or in production."""

from __future__ import annotations

from pathlib import Path
from typing import cast, get_args

from inventories.catalog.recovery import LAB, Place
from inventories.errors import BadInput
from runbooks.hosts import Estate

KEY = "place"  # of the inventory's data, where the file has another name than the place


def place_of(estate: Estate) -> Place:
    """Raises BadInput for an inventory that does not say."""
    if estate.name.startswith(f"{LAB}-"):
        return cast("Place", LAB)
    said = str(estate.data.get(KEY) or Path(estate.inventory).stem)
    if said not in get_args(Place):
        raise BadInput(
            f"inventory {estate.inventory} is called {said}, which is none of {', '.join(get_args(Place))}",
            f'give its hosts "{KEY}": "production" or "{KEY}": "staging"',
        )
    return cast("Place", said)
