"""Run by DIRAC's own Python: ``getFile`` of lists, several at once; prints the seconds it took.

Arguments: folder, number of streams, and the paths in the catalogue.
"""

import sys
import threading
import time
from pathlib import Path

import DIRAC


def main() -> None:
    """Share the files among the streams and fetch them."""
    folder, streams, paths = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
    DIRAC.initialize()
    from DIRAC.Interfaces.API.Dirac import Dirac

    failed = []

    def fetch(number: int) -> None:
        place = folder / str(number)
        place.mkdir()
        answer = Dirac().getFile(paths[number::streams], destDir=str(place))
        if not answer["OK"] or answer["Value"]["Failed"]:
            failed.append(answer)

    Dirac()  # what is loaded once is not counted
    started = time.monotonic()
    threads = [threading.Thread(target=fetch, args=(number,)) for number in range(streams)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.monotonic() - started
    if failed:
        sys.exit(f"getFile failed: {failed[0]}")
    print(f"seconds {seconds}")


if __name__ == "__main__":
    main()
