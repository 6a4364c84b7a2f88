"""A saved model in a repository on the Hub: whether it may be written, and the upload."""

from __future__ import annotations

from pathlib import Path

from chatdata.core.errors import HubError, OutputError
from chatdata.hub import client, rights
from chatdata.hub.repository import checked_name
from trainer.run import public_copy
from trainer.run.save import DESCRIPTION


def check_writable(repo: str) -> str:
    """A line that names whose token may write to a repository. Nothing is made on the Hub.

    Raises HubError where the Hub's answer about the token says that it may not.
    """
    checked_name(repo)
    with client.reaching(f"'{repo}'"):
        who = client.api().whoami()
    problem = next(rights.problems(who, repo, "model"), None)
    if problem is not None:
        raise HubError(f"the model cannot be pushed to '{repo}': {problem}")
    return f"'{repo}' may be written by '{who['name']}'"


def upload(folder: Path, repo: str, private: bool = True) -> str:
    """Uploads a saved model in a single commit, and creates the repository if it is missing.

    A repository that exists keeps its visibility. No path of this machine is in what is uploaded.
    Returns the commit's address. Raises OutputError for a folder without a model, and HubError
    where the Hub refuses.
    """
    if not (folder / DESCRIPTION).is_file():
        raise OutputError(
            f"'{folder}' holds no model that this trainer saved (no {DESCRIPTION}); name a folder "
            "that a run wrote, or let the run end first."
        )
    checked_name(repo)
    with client.reaching(f"'{repo}'"):
        api = client.api()
        api.create_repo(repo, private=private, exist_ok=True)
        with public_copy.made(folder) as copy:
            commit = api.upload_folder(
                repo_id=repo,
                folder_path=copy,
                commit_message=f"Upload the model of {folder.name}",
            )
    return str(commit.commit_url)
