"""A saved model to the Hugging Face Hub.

    python -m trainer.push out/my-model org/my-model

Private unless said otherwise. Checkpoints, optimizer state and logs, which hold the names of
machines and folders, stay behind.
"""

from __future__ import annotations

from pathlib import Path

import click
from huggingface_hub import HfApi, errors

from chatdata.errors import ChatdataError, OutputError
from trainer.save import FACTS

STAYS = ["checkpoint-*/**", "global_step*/**", "runs/**", "training_args.bin", "run.json", ".*"]


def check_writable(repo: str) -> str:
    """Raises OutputError where the Hub's token may not write a repository. Returns what it may.

    Nothing is made: a repository that is there is asked for, of one that is not the owner is
    compared with the token's user and organisations.
    """
    owner, slash, name = repo.partition("/")
    if not (owner and slash and name):
        raise OutputError(f"'{repo}' is no name of a repository; it reads as org/name.")
    try:
        HfApi().auth_check(repo, write=True)
        return f"'{repo}' is there and may be written"
    except errors.RepositoryNotFoundError:
        return _check_owner(repo, owner)
    except (errors.HfHubHTTPError, OSError) as error:
        raise _refused(repo, error) from None


def _check_owner(repo: str, owner: str) -> str:
    try:
        user = HfApi().whoami()
    except (errors.HfHubHTTPError, errors.LocalTokenNotFoundError, OSError) as error:
        raise _refused(repo, error) from None
    owners = [user["name"], *(own["name"] for own in user.get("orgs", []))]
    if owner not in owners:
        raise OutputError(
            f"the Hub's token may not make '{repo}': it is of {', '.join(owners)}; push to one of "
            "these."
        )
    return f"'{repo}' may be made"


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
