"""A Hub on loopback: a model of the Hugging Face Hub, built from what its real clients ask.

It was written from the source of `huggingface_hub` and `datasets` and from what they send, not
from the Hub itself: limits, error texts and what happens on a busy day may differ there. The
tests with `CHATDATA_LIVE_HUB=1` ask the real one.

    with serve(tmp_path) as hub:
        hub.store.add_user("ada", token="hf_ada")
        os.environ["HF_ENDPOINT"] = hub.endpoint

`hub.store` holds repositories, users and content; `hub.faults` is the script of what goes wrong;
`hub.log` is what was asked, in order.
"""

from tests.support.loopback.faults import Fault
from tests.support.loopback.server import Hub, listen, serve
from tests.support.loopback.store import Repository, Store, commit_of

__all__ = ["Fault", "Hub", "Repository", "Store", "commit_of", "listen", "serve"]
