"""Errors a user can cause; every message says what is wrong, where, and what to do."""


class SegPerceptionError(Exception):
    """Base of every error that the package raises on purpose."""


class ClassTableError(SegPerceptionError):
    """A class table is missing, malformed or contradicts itself."""


class CameraError(SegPerceptionError):
    """Camera intrinsics cannot be used."""


class ImageError(SegPerceptionError):
    """An image is empty, truncated or of an unsupported encoding."""


class BundleError(SegPerceptionError):
    """A model bundle is missing, corrupt, tampered with, or disagrees with its manifest."""


class EngineError(SegPerceptionError):
    """No engine can run the model on the requested device, or inference failed."""


class DeviceLostError(EngineError):
    """The device of an engine is lost or out of memory."""


class GridError(SegPerceptionError):
    """Parameters of the grid are out of range or contradict each other."""


class TransformError(SegPerceptionError):
    """The pose of a camera at the stamp of an image is not available."""


class DataError(SegPerceptionError):
    """Images, labels or bags on disk cannot be read or do not fit together."""


class TrainingError(SegPerceptionError):
    """A training configuration is wrong, or a training cannot go on."""


class ExportError(SegPerceptionError):
    """A trained network cannot become a bundle: the graph differs from it, or the gate refused."""


class ModelImportError(SegPerceptionError):
    """A network from elsewhere cannot be read, or is none that can become a bundle."""


def one_line(error: BaseException) -> str:
    """What an exception says, in one line of some 240 characters: long ones tell the reason last."""
    text = " ".join((str(error) or repr(error)).split())
    return text if len(text) <= 240 else f"{text[:60]} … {text[-180:]}"
