#!/usr/bin/env bash
# What is to be seen on one GPU, within 10 minutes each; every part prints its figures as it goes.
#   benchmarks/gpu.sh 3b FOLDER            memory and seconds of a 3B policy beside the estimate, by strategy
#   benchmarks/gpu.sh likelihood FOLDER    the default policy over as many film and passage queries as fit
# FOLDER is a data folder; what `ranker fetch` brings has to be in it. MINUTES=3 for less.
set -euo pipefail
cd "$(dirname "$0")/.."
part=${1:?3b or likelihood} folder=${2:?a data folder}
python=${PYTHON:-.venv/bin/python}
"$python" -c 'import torch; print(torch.__version__, torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU: the CPU does it")'
case $part in
    3b) exec "$python" -m benchmarks.gpu "$folder" ;;
    likelihood) exec "$python" -m benchmarks.likelihood_curve "$folder" "${MINUTES:-8}" ;;
    *) echo "no part $part" >&2; exit 2 ;;
esac
