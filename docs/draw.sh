#!/usr/bin/env bash
# Draws the pictures of the articles' pages anew, from the runs in models/. Their charts are drawn by benchmarks/publish.py,
# and the pictures of views.md by the commands that it names.
set -euo pipefail
cd "$(dirname "$0")/.."
drawn=$(mktemp -d)
trap 'rm -rf "$drawn"' EXIT

python visualize_results.py --run bernet-best-mnist --seed 1 --output-dir "$drawn"
cp "$drawn/bernet-best-mnist-mistakes.png" docs/bernet-mistakes.png
python visualize_building_blocks.py --run bernet-best-mnist --index 7 --gif --output-dir "$drawn"
cp "$drawn/bernet-best-mnist-pixels-test-7.png" docs/bernet-pixels.png
cp "$drawn/bernet-best-mnist-window.png" docs/window.png
cp "$drawn/bernet-best-mnist-pooling.png" docs/pooling.png
cp "$drawn/bernet-best-mnist-arithmetic-test-7.png" docs/bernet-arithmetic.png
cp "$drawn/bernet-best-mnist-filters-test-7.png" docs/bernet-filters.png
cp "$drawn"/bernet-best-mnist-sliding-test-7-1-*.gif docs/bernet-sliding.gif
python visualize_building_blocks.py --run improved_model-cifar10 --index 141 --gif --output-dir "$drawn"
cp "$drawn/improved_model-cifar10-arithmetic-test-141.png" docs/wang-arithmetic.png
cp "$drawn/improved_model-cifar10-filters-test-141.png" docs/wang-filters.png
cp "$drawn"/improved_model-cifar10-sliding-test-141-1-*.gif docs/wang-sliding.gif
