#!/usr/bin/env bash
# The head of gpu.md, unattended: two parts of at most nine minutes each, which need no data set.
#
#     benchmarks/gpu.sh 1 OUTPUT
#     benchmarks/gpu.sh 2 OUTPUT
#
# OUTPUT gets the text of each command, runs.jsonl (name, seconds, limit, exit status; 124 ran into its
# limit) and results.jsonl (what the benchmarks recorded, with device and versions).
set -u
part=${1:?part 1 or 2} output=$(realpath -m "${2:?folder of the results}")
cd "$(dirname "$0")/.."
results=benchmarks/results
mkdir -p "$output"
before=$(mktemp -d)
cp "$results"/*.jsonl "$before"

run() { # NAME LIMIT COMMAND...
    local name=$1 limit=$2 begin=$SECONDS status
    shift 2
    echo "$name: $*"
    timeout --kill-after 5 "$limit" "$@" >"$output/$name.txt" 2>&1
    status=$?
    printf '{"name": "%s", "seconds": %d, "limit": %d, "status": %d}\n' \
        "$name" $((SECONDS - begin)) "$limit" $status | tee -a "$output/runs.jsonl"
    for path in "$results"/*.jsonl; do
        known=$(cat "$before/$(basename "$path")" 2>/dev/null | wc -l)
        tail -n +$((known + 1)) "$path"
    done >"$output/results.jsonl"
}

case $part in
1)
    run tests 150 python -m pytest -q -p no:cacheprovider -m gpu
    run isda 170 python benchmarks/bench_isda.py --device cuda --seconds 1.5
    run training 120 python benchmarks/bench_training.py --device cuda --seconds 8 \
        --networks resnet32_cifar wide_resnet28_10_cifar
    run precision 50 python benchmarks/bench_precision.py --device cuda --seconds 1
    run ait 40 python benchmarks/bench_ait.py --device cuda --seconds 1
    ;;
2)
    run training_compiled 200 python benchmarks/bench_training.py --device cuda --seconds 8 --compile \
        --networks resnet32_cifar wide_resnet28_10_cifar
    run scale 100 python benchmarks/bench_scale.py --device cuda --seconds 1.5
    run augment 80 python benchmarks/bench_augment.py --device cuda --seconds 1
    run digits 150 python -m semaug compare digits_resnet8 digits_resnet8_isda --seeds 10 --jobs 4 \
        --device cuda --runs "$(mktemp -d)"
    ;;
*)
    echo "expected part 1 or 2, got $part" >&2
    exit 2
    ;;
esac
