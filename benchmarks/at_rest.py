"""All measurements of docs/performance.md but the GPU's, for a machine at rest: about twelve minutes on two cores.

  python benchmarks/at_rest.py --peers SITE     see plain_call.py for SITE

Writes benchmarks/results/plain-call*.json, floor.json, training-speed.json, training-errors.json and the figure. Stopped
and started again, it measures anew, but for the errors, which go on.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
STEPS = (
    ("plain_call.py", "--repeats", "3"),
    ("plain_call.py", "--repeats", "2", "--isa", "AVX512_CORE"),
    ("plain_call.py", "--repeats", "2", "--isa", "AVX2", "--only", "mlp,lenet,resnet9,vit"),
    ("plain_call.py", "--draw"),
    ("floor.py", "--repeats", "5", "--compile"),
    ("training.py", "speed", "--n", "320", "--repeats", "3", "--threads", "1"),
    ("training.py", "errors", "--n", "1000", "--n-test", "500", "--epochs", "6", "--width", "4", "--threads", "2"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", help="site-packages of the peers' environment")
    options = parser.parse_args()
    for script, *words in STEPS:
        if script == "plain_call.py" and options.peers:
            words += ["--peers", options.peers]
        started = time.perf_counter()
        done = subprocess.call([sys.executable, str(HERE / script), *words], stdout=subprocess.DEVNULL)
        print(f"{script} {' '.join(words)}: exit {done}, {time.perf_counter() - started:.0f} s", flush=True)


if __name__ == "__main__":
    main()
