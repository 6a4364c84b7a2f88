"""A saved model to the Hugging Face Hub.

    python -m trainer.push out/my-model org/my-model

Private unless said otherwise. Checkpoints, optimizer state and logs, which hold the names of
machines and folders, stay behind.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from huggingface_hub import HfApi, errors

from chatdata.core.errors import ChatdataError, OutputError
from trainer.run.save import FACTS

STAYS = ["checkpoint-*/**", "global_step*/**", "runs/**", "training_args.bin", "run.json", ".*"]


def check_writable(repo: str) -> str:
    """Raises OutputError where the Hub's token may not write a repository. Returns whose it is.

    Nothing is made: the owner is compared with the token's user and organisations, and the token
    asked what it may do.
    """
    owner, slash, name = repo.partition("/")
    if not (owner and slash and name):
        raise OutputError(f"'{repo}' is no name of a repository; it reads as org/name.")
    try:
        user = HfApi().whoami()
    except (errors.HfHubHTTPError, errors.LocalTokenNotFoundError, OSError) as error:
        raise _refused(repo, error) from None
    own = [org["name"] for org in user.get("orgs", []) if org.get("roleInOrg") != "read"]
    if owner not in (user["name"], *own):
        raise OutputError(
            f"the Hub's token may not write '{repo}': it is of {', '.join([user['name'], *own])}; "
            "push to one of these."
        )
    if not _may_write(user.get("auth", {}).get("accessToken", {}), repo):
        raise OutputError(
            f"the Hub's token may read and not write '{repo}'; set HF_TOKEN to one that may."
        )
    return f"'{repo}' may be written by '{user['name']}'"


def _may_write(token: dict[str, Any], repo: str) -> bool:
    """Whether a token may write a repository, as far as the Hub says what it may."""
    if token.get("role") != "fineGrained":
        return token.get("role") != "read"
    granted = token.get("fineGrained", {})
    names = (repo, repo.partition("/")[0])
    scoped = [own for own in granted.get("scoped", []) if own["entity"].get("name") in names]
    permissions = [*granted.get("global", []), *(p for own in scoped for p in own["permissions"])]
    return any("write" in permission for permission in permissions)


def _refused(repo: str, error: Exception) -> OutputError:
    return OutputError(
        f"'{repo}' cannot be written ({type(error).__name__}); set HF_TOKEN to a token that may, "
        "and check the network and HF_ENDPOINT."
    )


def push(folder: Path, repo: str, private: bool = True) -> str:
    """Uploads a saved model in one commit, into a repository that is made if need be.

    A repository that is there keeps its visibility. Returns the commit's address. Raises
    OutputError for a folder without a model, and where the Hub refuses.
    """
    if not (folder / FACTS).is_file():
        raise OutputError(f"'{folder}' holds no model that this trainer saved (no {FACTS}).")
    try:
        api = HfApi()
        api.create_repo(repo, private=private, exist_ok=True)
        commit = api.upload_folder(
            repo_id=repo,
            folder_path=folder,
            ignore_patterns=STAYS,
            commit_message=f"Upload the model of {folder.name}",
        )
    except (errors.HfHubHTTPError, errors.HFValidationError, OSError) as error:
        raise _refused(repo, error) from None
    return str(commit.commit_url)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("folder", type=click.Path(path_type=Path))
@click.argument("repo")
@click.option("--public", is_flag=True, help="Make the repository public.")
def main(folder: Path, repo: str, public: bool) -> None:
    """Upload the model in FOLDER to REPO (org/name) on the Hub."""
    try:
        click.echo(push(folder, repo, private=not public))
    except ChatdataError as error:
        raise click.ClickException(str(error)) from None


if __name__ == "__main__":
    main()
