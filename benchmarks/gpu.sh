#!/usr/bin/env bash
# What is to be seen on one GPU; every part and stage prints its figures as it goes, and stands alone.
#   benchmarks/gpu.sh all FOLDER           the stages below in order, within MINUTES (15); one that fails is named, and the next begins
#   benchmarks/gpu.sh STAGE FOLDER         install | sft | grpo | evaluate | resume | thoughts (benchmarks/gpu_stages.py)
#   benchmarks/gpu.sh 3b FOLDER            memory and seconds of a 3B policy beside the estimate, by strategy
#   benchmarks/gpu.sh likelihood FOLDER    the default policy over as many film and passage queries as fit in MINUTES (8)
# FOLDER is a data folder; for `likelihood`, what `ranker fetch` brings has to be in it.
# MODEL=FOLDER takes a local chat model for the stages instead of 3B random weights. DRY=1 takes a tiny one and two steps, on any machine.
set -euo pipefail
cd "$(dirname "$0")/.."
part=${1:?all, a stage, 3b or likelihood} folder=${2:?a data folder}
python=${PYTHON:-.venv/bin/python}
stages=(install sft grpo evaluate resume thoughts)
declare -A most=([install]=60 [sft]=150 [grpo]=330 [evaluate]=180 [resume]=180 [thoughts]=150) # seconds

stage() { "$python" -m benchmarks.gpu_stages "$folder" "$1" ${DRY:+--dry} ${MODEL:+--model "$MODEL"}; }

all() {
    local end=$((SECONDS + 60 * ${MINUTES:-15})) failed=() name limit code
    export -f stage
    export python folder
    for name in "${stages[@]}"; do
        limit=$((end - SECONDS))
        ((limit > most[$name])) && limit=${most[$name]}
        if ((limit < 10)); then
            echo "$name: not run, the time is over"
            failed+=("$name")
            continue
        fi
        code=0
        timeout --kill-after=10 "$limit" bash -c 'stage "$0"' "$name" || code=$?
        if ((code)); then
            ((code == 124 || code == 137)) && echo "$name: stopped after $limit s" || echo "$name: failed with $code"
            failed+=("$name")
        fi
    done
    echo "${#stages[@]} stages in $SECONDS s; failed or not run: ${failed[*]:-none}"
    ((${#failed[@]} == 0))
}

case $part in
    all) all ;;
    install | sft | grpo | evaluate | resume | thoughts) stage "$part" ;;
    3b | likelihood)
        "$python" -c 'import torch; print(torch.__version__, torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU: the CPU does it")'
        if [[ $part == 3b ]]; then exec "$python" -m benchmarks.gpu "$folder"; fi
        exec "$python" -m benchmarks.likelihood_curve "$folder" "${MINUTES:-8}"
        ;;
    *) echo "no part $part" >&2; exit 2 ;;
esac
