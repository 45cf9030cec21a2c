"""What a command leaves behind when it is told to stop."""

import os
import signal
import subprocess
import sys
import time


def test_sigterm_removes_temporary_folders(tmp_path, free_port):
    environment = {
        **os.environ,
        "TMPDIR": str(tmp_path),
        "DQM_DB_URL": f"zeo://127.0.0.1:{free_port}",
        "DQM_DB_WAIT": "100",
    }
    with subprocess.Popen([sys.executable, "-m", "dqm", "runs"], env=environment) as process:
        while not list(tmp_path.glob("dqm-blobs-*")):
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 128 + signal.SIGTERM
    assert not list(tmp_path.iterdir())
