"""The stored classes. This module never moves and its classes are never renamed: their dotted names
are written into every record, and a class that is not found is read back as a broken object.

    root["nectarcam-dqm"] = Root
      Root.cameras: OOBTree  name -> Camera
        Camera.runs: IOBTree  run number -> Run          (small: header, list of contents)
          Run.maps     -> PixelMapsRecord                one matrix, quantities × pixels
          Run.small    -> SmallRecord                    all short arrays and summaries together
          Run.arrays   -> {quantity: ArraysRecord}       waveforms, timelines, events; one each
          Run.summaries-> {quantity: SmallRecord}        large precomputed plot series, one each
          Run.original -> OriginalRecord                 the file as a blob
        Camera.catalogue: IOBTree  run // 128 -> CatalogueChunk   typed columns
        Camera.trends: Trends
          Trends.names  -> TrendNames                    what the columns of a row are
          Trends.tail: IOBTree  run -> TrendRow          rows not folded yet
          Trends.blocks: IOBTree  index -> TrendBlock    256 folded rows
            TrendBlock.quantities: {quantity: TrendBlockQuantity}   statistics × rows
        Camera.pixels: PixelHistory                      single pixels over all runs
          PixelHistory.tail: IITreeSet                   runs that are read from their own maps
          PixelHistory.blocks: IOBTree  index -> PixelBlock    64 folded runs
            PixelBlock.modules: (PixelBlockModule, …)    quantities × 7 pixels × runs each
        Camera.verdicts: IOBTree  run -> SmallRecord     what the checks say of each run
        Camera.thresholds -> SmallRecord                 the thresholds that were applied last
      Root.ingestion: Ingestion                          what the puller remembers beside the runs
        Ingestion.pull -> SmallRecord                    the last pull
        Ingestion.failures: OOBTree  camera -> IOBTree  run -> SmallRecord   files not stored
      Root.operations: OOBTree  name -> SmallRecord      the last backup, verification, pack, …
    root["nectarcam-dqm-fence"] = {epoch, state, host, at, reason}   written by servers
                                                         (`dqm_db.volume.fence`)

Attributes hold plain values, bytes (`dqm_db.codec`) and references to the records above; no numpy
object is ever pickled. Beside these classes only those of BTrees and ZODB.blob are stored. A change
of what an attribute means raises ``SCHEMA`` and adds a migration (`dqm_db.migrations`).
"""

from __future__ import annotations

from BTrees.IIBTree import IIBTree, IITreeSet
from BTrees.IOBTree import IOBTree
from BTrees.OOBTree import OOBTree
from persistent import Persistent
from ZODB.blob import Blob

ROOT_KEY = "nectarcam-dqm"
SCHEMA = 1
"""Version of the layout described above."""


class Root(Persistent):
    """Top of everything this system stores."""

    # databases older than these have none
    ingestion: Ingestion | None = None
    operations: OOBTree | None = None

    def __init__(self, created: float) -> None:
        self.schema: int = SCHEMA
        self.created: float = created  # unix s, UTC
        self.cameras: OOBTree = OOBTree()
        self.ingestion = Ingestion()


class Ingestion(Persistent):
    """What the puller remembers beside the runs; its documents are those of `dqm_db.ingestion`."""

    def __init__(self) -> None:
        self.pull: SmallRecord | None = None
        self.failures: OOBTree = OOBTree()


class Camera(Persistent):
    """All that is stored of one camera.

    ``rebuild`` exists while catalogue and trends are computed anew (`dqm_db.rebuilding`): the ones
    that grow, below a camera without runs.
    """

    rebuild: Camera | None = None
    # databases older than these have none
    pixels: PixelHistory | None = None
    verdicts: IOBTree | None = None
    thresholds: SmallRecord | None = None

    def __init__(self, name: str) -> None:
        self.name: str = name
        self.runs: IOBTree = IOBTree()
        self.catalogue: IOBTree = IOBTree()
        self.trends: Trends = Trends()


class Run(Persistent):
    """One run; a few KB, opened whenever the run is looked at.

    ``header`` and ``contents`` are `dqm_db.codec.pack_record` documents, see `dqm_db.records`.
    """

    def __init__(self, header: bytes, contents: bytes) -> None:
        self.header: bytes = header
        self.contents: bytes = contents
        self.maps: PixelMapsRecord | None = None
        self.small: SmallRecord | None = None
        self.arrays: dict[str, ArraysRecord] = {}
        self.summaries: dict[str, SmallRecord] = {}
        self.original: OriginalRecord | None = None


class PixelMapsRecord(Persistent):
    """All per-pixel maps of a run.

    ``names`` lists the rows; ``values`` packs float64 (rows, 1855); ``counts`` int64 (rows, bins)
    and ``limits`` float64 (rows, 2) hold each row's histogram.
    """

    def __init__(self, names: tuple[str, ...], values: bytes, counts: bytes, limits: bytes) -> None:
        self.names: tuple[str, ...] = names
        self.values: bytes = values
        self.counts: bytes = counts
        self.limits: bytes = limits


class SmallRecord(Persistent):
    """One `dqm_db.codec.pack_record` document."""

    def __init__(self, data: bytes) -> None:
        self.data: bytes = data


class ArraysRecord(Persistent):
    """The columns of one quantity: a tuple of (name, dtype, shape, bytes), see `dqm_db.codec`."""

    def __init__(self, columns: tuple[tuple[str, str, tuple[int, ...], bytes], ...]) -> None:
        self.columns = columns


class OriginalRecord(Persistent):
    """The file a run was read from; ``media`` as in `dqm_db.content.Original`."""

    def __init__(self, media: str, data: bytes) -> None:
        self.media: str = media
        self.blob: Blob = Blob(data)


class CatalogueChunk(Persistent):
    """Rows of up to 128 neighbouring run numbers, as one `pack_record` document of columns."""

    def __init__(self, columns: bytes) -> None:
        self.columns: bytes = columns


class Trends(Persistent):
    """Statistics of all runs of a camera; how it is read and folded is in `dqm_db.trends`."""

    def __init__(self) -> None:
        self.names: TrendNames = TrendNames()
        self.tail: IOBTree = IOBTree()
        self.blocks: IOBTree = IOBTree()
        self.deleted: IIBTree = IIBTree()  # run -> number of blocks whose rows of it are void


class TrendNames(Persistent):
    """What the columns of trend rows are: a `pack_record` document that only ever grows."""

    def __init__(self) -> None:
        self.data: bytes = b""


class TrendRow(Persistent):
    """The statistics of one run: packed float64 (columns,), NaN where the run has none."""

    def __init__(self, values: bytes) -> None:
        self.values: bytes = values


class TrendBlock(Persistent):
    """Folded rows: ``runs`` packs int64 (rows,) in the order in which they were folded."""

    def __init__(self, runs: bytes) -> None:
        self.runs: bytes = runs
        self.quantities: dict[str, TrendBlockQuantity] = {}


class TrendBlockQuantity(Persistent):
    """Statistics of one quantity in one block: packed float64 (statistics, rows)."""

    def __init__(self, statistics: tuple[str, ...], values: bytes) -> None:
        self.statistics: tuple[str, ...] = statistics
        self.values: bytes = values


class PixelHistory(Persistent):
    """Values of single pixels over all runs; how they are read is in `dqm_db.pixel_history`.

    ``names`` are the quantities of all blocks. ``growing`` exists while a block is made in several
    transactions (`dqm_db.pixel_folding`).
    """

    names: tuple[str, ...] = ()
    growing: PixelBlock | None = None

    def __init__(self) -> None:
        self.tail: IITreeSet = IITreeSet()
        self.blocks: IOBTree = IOBTree()
        self.deleted: IIBTree = IIBTree()  # run -> number of blocks whose values of it are void


class PixelBlock(Persistent):
    """Folded runs: ``runs`` packs int64 (runs,); ``names`` and it are the order of all values."""

    def __init__(self, runs: bytes, names: tuple[str, ...]) -> None:
        self.runs: bytes = runs
        self.names: tuple[str, ...] = names
        self.modules: tuple[PixelBlockModule, ...] = ()


class PixelBlockModule(Persistent):
    """The pixels of one module in one block: packed float32 (names, 7, runs)."""

    def __init__(self, values: bytes) -> None:
        self.values: bytes = values
