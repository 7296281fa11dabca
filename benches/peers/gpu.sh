#!/bin/sh
# Every figure that needs a GPU, each beside its peer on the same GPU:
#
#     cargo build --release --features cuda
#     benches/peers/gpu.sh MODEL [DEVICE] > gpu.txt
#
# MODEL is a Hugging Face directory of a Qwen2 model, such as Qwen2.5-Coder-0.5B-Instruct. PYTHON needs
# torch with CUDA, transformers, safetensors and tokenizers. TURNS, ROWS, CONTEXT, PROMPTS and QUESTIONS
# make it smaller; with DEVICE=cpu all of it runs without a GPU, to see that it does.
set -eu
model=$1
device=${2:-${DEVICE:-cuda}}
here=$(dirname "$0")
tokenzero=${TOKENZERO:-$here/../../target/release/tokenzero}
python=${PYTHON:-python3}
turns=${TURNS:-5}
rows=${ROWS:-512}
context=${CONTEXT:-300}
prompts=${PROMPTS:-64}
questions=${QUESTIONS:-256}
seed_questions=${SEED_QUESTIONS:-4}
case $device in
    cpu) weights=f32 dtype=float32 torch=cpu ;;
    *) weights=auto dtype=bfloat16 torch=cuda ;;
esac
files=$(mktemp -d)
trap 'rm -rf "$files"' EXIT

say() { printf '\n== %s\n' "$*"; }

say "logits: $prompts prompts, against f32 on the CPU"
"$python" "$here/logits.py" "$model" --tokenzero "$tokenzero" --device "$device" \
    --weights "$weights" --prompts "$prompts" --length "${LENGTH:-32}"

bench() { echo "$tokenzero bench --model $model --device $device --weights $weights --json $*"; }

for how in "1 off" "4 off" "8 off" "4 auto"; do
    queued=${how% *} graphs=${how#* }
    say "decoding, $rows rows after $context tokens, $queued steps queued, graphs $graphs, against transformers"
    "$python" "$here/compare.py" tokens_per_s "$turns" \
        "$(bench --what decode --rows "$rows" --context "$context" --repeats 2 \
            --queued-steps "$queued" --graphs "$graphs")" \
        "$python $here/decode.py $model --rows $rows --context $context --device $torch --dtype $dtype \
            --steps ${STEPS:-64} --repeats 2"
done

say "collection, $questions questions, against the same search with the same memo in PyTorch"
searched="--simulations ${SIMULATIONS:-30} --max-new-tokens ${NEW_TOKENS:-38}"
collect=$(bench --what collect --rows 256 --questions "$questions" --repeats 1 $searched)
$collect --prompts "$files/prompts" > "$files/first.json"
"$python" "$here/compare.py" simulations_per_s "$turns" "$collect" \
    "$python $here/collect.py $model $files/prompts --rows 256 --questions $questions --repeats 1 \
        --device $torch --dtype $dtype $searched"

say "collection against the seed's pipeline, which takes $seed_questions of the questions"
"$python" "$here/compare.py" simulations_per_s "$turns" "$collect" \
    "$python $here/collect.py $model $files/prompts --seed-pipeline --questions $seed_questions \
        --repeats 1 --device $torch --dtype $dtype $searched"
