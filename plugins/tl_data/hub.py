"""Data sets of the Hugging Face hub, through the library datasets. No script of theirs is run."""

from __future__ import annotations

import errno
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

from tl_data import HubOptions
from tl_data.saved import damaged, on_disk, reason_of
from tl_data.splits import Splits, examples_of_splits
from tlcore import (
    DataError,
    DataSource,
    Example,
    Problem,
    RecipeWarning,
    ResourceError,
    TLError,
    UnreadableError,
    UsageError,
    WeightsError,
)

__all__ = ["HubSource"]

SECONDS_TO_ANSWER = 5.0
FULL = (errno.ENOSPC, errno.EDQUOT)


class HubSource(DataSource):
    """The rows of a data set of the hub, or of a folder that is laid out like one."""

    def __init__(self, options: HubOptions) -> None:
        self.options = options

    def examples(self) -> Iterator[Example | Problem]:
        """Yield each row; see ``tl_data.table.TableSource``.

        Raises:
            DataError: there is no such data set, configuration or split.
            WeightsError: the hub cannot be reached.
        """
        if Path(self.options.dataset).is_dir():
            yield from self._beside()
            return
        name = self.options.dataset
        revision = self._revision()
        found = self._loaded(revision)
        if self.options.revision is None:
            yield Problem(name, self._say_unpinned(revision), skipped=False)
        if self.options.streaming and self.options.limit:
            warnings.warn(
                f"streaming with a limit reads the first {self.options.limit:,} rows of each split as they lie; where "
                "they are sorted by their labels, these are all of one class",
                RecipeWarning,
                stacklevel=2,
            )
        yield from examples_of_splits(
            found, Path(name), self.options, roots=_caches(), refusal=self._refusal, fetched=self._fetched()
        )

    def _beside(self) -> Iterator[Example | Problem]:
        """Yield the rows of a folder that has the name of the data set."""
        options = self.options
        idle = "revision" if options.revision is not None else "streaming" if options.streaming else None
        if idle:
            raise UsageError(
                f"{options.dataset} is a folder here, so data.{idle} means nothing",
                hint=f"leave {idle} out; or to read the hub, work where no folder has that name",
            )
        path = Path(options.dataset)
        reason = f"it is the folder {path.absolute()}, not a data set of the hub"
        yield Problem(options.dataset, reason, skipped=False)
        yield from examples_of_splits(
            on_disk(path, options.config), path, options, roots=(path,), refusal=lambda error: damaged(path, error)
        )

    def _say_unpinned(self, revision: str | None) -> str:
        """Warn that nothing says which commit is meant, and return the line that would say it."""
        reason = (
            f"read at its newest commit; to keep it so, write `data.revision: {revision}`"
            if revision is not None
            else "read as it was last fetched, since the hub is switched off (HF_HUB_OFFLINE)"
        )
        text = f"data.revision names no commit of {self.options.dataset}: {reason}"
        warnings.warn(text, RecipeWarning, stacklevel=2)
        return reason

    def _revision(self) -> str | None:
        """Return the commit that is meant, asked of the hub; None where it works offline, from what was fetched."""
        from huggingface_hub import HfApi
        from huggingface_hub.errors import (
            GatedRepoError,
            HFValidationError,
            OfflineModeIsEnabled,
            RepositoryNotFoundError,
            RevisionNotFoundError,
        )

        name, revision = self.options.dataset, self.options.revision
        try:
            info = HfApi().dataset_info(name, revision=revision, timeout=SECONDS_TO_ANSWER)
            return str(info.sha)
        except OfflineModeIsEnabled:
            return revision
        except HFValidationError as error:
            raise DataError(
                f"{name!r} is neither a folder here nor a name that a data set of the hub can have",
                where="data.dataset",
                hint="names look like `imdb` or `stanfordnlp/imdb`",
            ) from error
        except GatedRepoError as error:
            raise DataError(
                f"the hub gives {name!r} only to those who asked for it",
                where="data.dataset",
                hint="accept its terms on its page, and set HF_TOKEN to your token",
            ) from error
        except (RepositoryNotFoundError, RevisionNotFoundError) as error:
            raise DataError(
                f"the hub has no data set {name!r}" + (f" at {revision}" if revision else ""),
                where="data.dataset, data.revision",
                hint="check both; a private one needs a token (HF_TOKEN)",
            ) from error
        except Exception as error:  # the HTTP library behind the hub has errors of its own, and has changed before
            raise self._unreachable(error) from error

    def _loaded(self, revision: str | None) -> Splits:
        from datasets import load_dataset

        options = self.options
        try:
            found: Splits = load_dataset(
                options.dataset, options.config, revision=revision, streaming=options.streaming
            )
        except Exception as error:  # each layer below has errors of its own
            raise self._refusal(error) from error
        return found

    def _refusal(self, error: Exception) -> TLError:
        """Return the refusal for an error of the libraries: no hub, no space, or data that is not as it should be."""
        if isinstance(error, TLError):
            return error
        causes = list(_causes(error))
        if full := next((one for one in causes if isinstance(one, OSError) and one.errno in FULL), None):
            return ResourceError(
                f"no space for the data set {self.options.dataset}: {reason_of(full)}",
                where=str(full.filename) if full.filename else None,
                hint="make room, name another disk with HF_HOME, or read it with `--set data.streaming=true`",
            )
        if any(_is_of_network(one) for one in causes):
            return self._unreachable(error)
        return DataError(
            f"the data set {self.options.dataset!r} cannot be read: {reason_of(error)}",
            where="data.dataset, data.config",
            hint="check data.config, or fetch what is here again (HF_HOME)",
        )

    def _unreachable(self, error: Exception) -> WeightsError:
        from huggingface_hub import constants

        off = constants.HF_HUB_OFFLINE
        name = self.options.dataset
        given = ", ".join(repr(one) for one in (name, self.options.config) if one is not None)
        pinned = f", revision={self.options.revision!r}" if self.options.revision else ""
        return WeightsError(
            f"the hub is switched off (HF_HUB_OFFLINE), and {name} was not fetched before"
            if off
            else f"the hub cannot be reached: {reason_of(error)}",
            where=f"tried: the data set {name}",
            hint=f"without a hub: `datasets.load_dataset({given}{pinned}).save_to_disk(DIR)` elsewhere, bring DIR "
            "here, and `--set 'data={source: dataset, path: DIR}'`"
            + ("" if off else "; HF_HUB_OFFLINE=1 uses what was fetched before"),
        )

    def _fetched(self) -> Callable[[str], bytes]:
        """Return how a file of a streamed data set is read: one of its own repository, and no other address."""
        own = f"hf://datasets/{self.options.dataset}@"

        def fetched(address: str) -> bytes:
            from datasets.utils.file_utils import xopen

            if not address.split("::")[-1].startswith(own):
                raise UnreadableError(f"it is no file of the data set: {address}")
            try:
                with xopen(address, "rb") as file:
                    return bytes(file.read())
            except Exception as error:
                raise self._refusal(error) from error

        return fetched


def _caches() -> tuple[Path, ...]:
    """Return where the libraries keep what they fetch: only there may a data set of the hub name files."""
    from datasets import config
    from huggingface_hub import constants

    places = (config.HF_DATASETS_CACHE, config.DOWNLOADED_DATASETS_PATH, constants.HF_HUB_CACHE)
    return tuple(dict.fromkeys(Path(place) for place in places))


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and what it was raised from; not what merely came before it, such as a file that was optional."""
    while error is not None:
        yield error
        error = error.__cause__


def _is_of_network(error: BaseException) -> bool:
    """Say whether an error comes from the network: one of Python's, or of the HTTP libraries whatever their version."""
    if isinstance(error, (ConnectionError, TimeoutError)):
        return True
    return any(
        kind.__module__.partition(".")[0].startswith(("http", "requests", "urllib3")) for kind in type(error).__mro__
    )
