"""The end of a node whose constructor has failed, which leaves nobody a node to destroy."""

from __future__ import annotations

import gc
import time

_DISCOVERY_S = 1.0


def destroy_half_made_node() -> None:
    """Destroy what the failed constructor has begun; the interpreter would, but while it ends itself.

    Fast DDS (3.2) can block for good, or crash, in destroying a participant that is still discovering the others, and
    the parameters are refused in just that moment: so not before it has.
    """
    time.sleep(_DISCOVERY_S)
    gc.collect()
