#!/usr/bin/env bash
# Draw all pictures of the README and of docs/ anew, from the runs in models/ and the files in results/.
set -euo pipefail
cd "$(dirname "$0")/.."
drawn=$(mktemp -d)
trap 'rm -rf "$drawn"' EXIT
python -m publishing
python improved_model.py --dataset cifar10 --preview --output-dir "$drawn"
cp "$drawn/augmentation-cifar10.png" docs/

improved=(--run improved_model-cifar10 --output-dir "$drawn")

python visualize_results.py "${improved[@]}" --seed 1
python visualize_pixel_importance.py "${improved[@]}" --index 16 --compare
python visualize_hidden_layer_output.py "${improved[@]}" --index 16
python visualize_hidden_layer_activation.py "${improved[@]}" --layer fc3 --method plain --seed 1
python visualize_hidden_layer_activation.py "${improved[@]}" --layer conv4 --layer conv6 --layer fc3 --steps 40 --seed 1
for picture in docs/improved_model-cifar10-*.png; do
    [ ! -e "$drawn/${picture#docs/}" ] || cp "$drawn/${picture#docs/}" docs/
done

cp "$drawn/improved_model-cifar10-labels.png" docs/labels.png

python -m publishing.explorer_pictures

if [ $# -gt 0 ]; then # a folder of pictures
    python classify_pictures.py "$1" --run fast_model-95.5-cifar10 --output-dir "$drawn"
    cp "$drawn/fast_model-95.5-cifar10-pictures.png" docs/pictures.png
fi

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
