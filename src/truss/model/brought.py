"""Which Truss a container serves: the one of its image, or one that the platform brings.

Platforms that keep models apart from images put a model's files into a folder before they start the
container, or say where it is to fetch them. Mostly there is nothing, since an image of ours holds its model;
but a Truss that is there goes first: that is how one image serves many, or an edited model without a build.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

from truss.config import CONFIG_FILE, read_config
from truss.errors import MissingExtraError, TrussError

logger = logging.getLogger("truss.serve")

OWN = "/app"
"""Where an image has its own Truss."""

_PLACES = ("/opt/ml/model", "AIP_STORAGE_URI", "/mnt/models", "/repository", "AZUREML_MODEL_DIR")
"""The folder, or the variable that names it, in an order of ours:

- SageMaker: https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-inference-code.html
- Vertex AI, an address: https://cloud.google.com/vertex-ai/docs/predictions/custom-container-requirements
- KServe: https://kserve.github.io/website/docs/model-serving/storage/overview
- Hugging Face Endpoints: https://huggingface.co/docs/inference-endpoints/guides/custom_container
- Azure Machine Learning: https://learn.microsoft.com/azure/machine-learning/how-to-deploy-custom-container
"""


def truss_dir_of(variables: Mapping[str, str], root: Path = Path("/")) -> Path:
    """The folder of the Truss that a container is to serve.

    Args:
        variables: Its environment. A `TRUSS_DIR` other than the image's own place has been set on purpose,
            and goes before all else.
        root: Of its files.

    Returns:
        That folder, else the first that a platform brings and that holds a Truss, else the image's own.

    Raises:
        ConfigError: a Truss is there, and its config is wrong.
        MissingExtraError, WeightsError: one is to be fetched, and cannot be.
    """
    said = variables.get("TRUSS_DIR") or OWN
    if said != OWN:
        return Path(said)
    own = root / OWN.strip("/")
    for folder in _brought(variables, root, needed=truss_in(own) is None):
        if found := truss_in(folder):
            return found
    return own


def truss_in(folder: Path) -> Path | None:
    """The Truss in a folder: the folder itself, or the only one in it, as archives are often packed.

    Raises:
        ConfigError: a Truss is there, and its config is wrong.
    """
    try:
        inside = [entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith(".")]
        return next((one for one in (folder, *inside[: len(inside) == 1]) if _is_truss(one)), None)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:  # somebody else's: what is in it was meant to be read
        logger.warning("not looked for a Truss in %s: %s", folder, error.strerror)
        return None


def _is_truss(folder: Path) -> bool:
    """Whether a folder is a Truss: other programs, too, have a file that is named like our config."""
    if not (folder / CONFIG_FILE).is_file():
        return False
    try:
        config = read_config(folder)
    except TrussError:
        if (folder / "model" / "model.py").is_file():
            raise
        return False
    module = folder / config.model_module_dir / config.model_class_filename
    return config.docker_server is not None or module.is_file()


def _brought(variables: Mapping[str, str], root: Path, *, needed: bool) -> Iterator[Path]:
    """The folders that platforms bring, those that are to be fetched fetched."""
    for name in _PLACES:
        place = name if name.startswith("/") else variables.get(name, "").strip()
        if place.startswith("gs://"):
            fetched = _fetched(place, variables, needed=needed)
            if fetched is not None:
                yield fetched
        elif place.startswith("/"):
            yield root / place.lstrip("/")


def _fetched(address: str, variables: Mapping[str, str], *, needed: bool) -> Path | None:
    """What is at an address, if that is a Truss; else None, and nothing but configs was fetched.

    Where the image has a Truss of its own, one that cannot be looked for is not missed: the address may be
    meant for the model's code.
    """
    from truss.weights.fetch import Fetcher
    from truss.weights.place import weights_dir
    from truss.weights.sources import Source

    fetcher, source = Fetcher(weights_dir(variables), {}), Source(address, "", "folder", "start")
    try:
        listing = fetcher.listing(source)
    except MissingExtraError as error:
        if needed:
            raise
        logger.warning("not looked for a Truss: %s", error)
        return None
    configs = [file.path for file in listing.files if PurePosixPath(file.path).name == CONFIG_FILE]
    # No deeper than `truss_in` looks.
    return fetcher.fetch(source).folder if any(path.count("/") < 2 for path in configs) else None
