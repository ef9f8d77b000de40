"""How far can answers be trusted? Unfamiliar pictures, calibration, digits that are not MNIST's, wrong labels.

    python -m benchmarks.trust FOLDER_OF_FRUIT_AND_FLOWERS

Needs CIFAR-10 and MNIST. Writes results/trust.csv, in two to seven minutes.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.metrics import roc_auc_score

from benchmarks import results
from convnets import cli, paths

RESULTS = paths.RESULTS / "trust.csv"
NETWORKS = ["basic_model-cifar10", "improved_model-cifar10", "fast_model-94-cifar10", "fast_model-95.5-cifar10"]
EXCHANGED, LOOKED_AT = 0.02, 0.03  # shares of the labels


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    options = parser.parse_args(argv)

    with cli.importing_keras():
        from convnets.data import datasets, handwriting, image_files
        from convnets.training import checkpoints
        from convnets.views import calibration, introspection, labels

    cifar10, mnist, folder = datasets.load("cifar10"), datasets.load("mnist"), datasets.load(options.folder)
    others = {
        options.folder.name: folder.x_test,
        "MNIST": np.stack([
            np.asarray(image_files.middle(Image.fromarray(image[..., 0]), 32, 32).convert("RGB"))
            for image in mnist.x_test
        ]),
    }  # fmt: skip
    rows = []
    for name in NETWORKS:
        model = checkpoints.load_model(paths.PRETRAINED / name)
        fitted = calibration.load(paths.PRETRAINED / name, model)
        rows += [
            {"question": "calibration", "network": name, "case": case, "measure": "calibration error", "value": value}
            for case, value in (("as it is", fitted.error_before), ("with a temperature", fitted.error_after))
        ]
        outputs = introspection.logits_and_features(model)
        scores = {
            "energy": lambda logits, features: calibration.energy(logits),
            "distance of features": lambda logits, features, fitted=fitted: calibration.distance(
                features, fitted.centres
            ),
            "both": fitted.unfamiliarity,
        }
        known = introspection.predict(outputs, cifar10.x_test)
        for case, images in others.items():
            unknown = introspection.predict(outputs, images)
            row = {"question": "unfamiliar pictures", "network": name, "case": case}
            for measure, score in scores.items():
                of_known, of_unknown = score(**known), score(**unknown)
                area = roc_auc_score(
                    np.repeat([0, 1], [len(of_known), len(of_unknown)]), np.concatenate([of_known, of_unknown])
                )
                if measure == "both":
                    rows += [{**row, "measure": "AUROC", "value": area},
                             {**row, "measure": "share found", "value": (of_unknown > 0).mean()}]  # fmt: skip
                else:
                    row_of_one = {**row, "question": "scores of unfamiliarity"}
                    rows.append({**row_of_one, "measure": f"AUROC of {measure}", "value": area})

    digits, name = load_digits(), "basic_model-mnist"
    model = checkpoints.load_model(paths.PRETRAINED / name)
    pictures = [Image.fromarray(np.uint8(255 / 16 * image)).convert("RGB") for image in digits.images]
    for case, images in (
        ("only resized", [image_files.fit(picture, (28, 28, 1)) for picture in pictures]),
        ("prepared as MNIST's were", [handwriting.as_in_mnist(picture).image for picture in pictures]),
    ):
        accuracy = (introspection.predict(model, np.stack(images)).argmax(axis=1) == digits.target).mean()
        rows.append({"question": "other people's digits", "network": name, "case": case, "measure": "accuracy",
                     "value": accuracy})  # fmt: skip

    truth = folder.y_train
    for seed in range(3):
        rng = np.random.default_rng(seed)
        wrong = rng.choice(len(truth), round(EXCHANGED * len(truth)), replace=False)
        exchanged = truth.copy()
        exchanged[wrong] = (exchanged[wrong] + rng.integers(1, folder.num_classes, len(wrong))) % folder.num_classes
        ranked = labels.rank([labels.cross_validated(folder.x_train, exchanged)], exchanged, folder.class_names)
        first = ranked["index"][: round(LOOKED_AT * len(truth))]
        rows.append({"question": "exchanged labels", "network": labels.FEATURES_FROM, "case": f"seed {seed}",
                     "measure": "share found", "value": np.isin(wrong, first).mean()})  # fmt: skip
    judged = pd.read_csv(paths.RESULTS / "judged_labels.csv").set_index("index")["wrong"]
    opinions = {folder.name: each for folder, each in labels.of_pretrained_networks(cifar10).items()}
    both = [opinions["fast_model-94-cifar10"], opinions["fast_model-95.5-cifar10"]]
    ways = {"the most accurate network alone": both[1:], "the networks about as accurate": both}
    ways["all four networks"] = list(opinions.values())
    for case, probabilities in ways.items():
        ranked = labels.rank(probabilities, cifar10.y_test, cifar10.class_names, most_errors=np.inf)
        first = judged.reindex(ranked["index"][:100])
        for answer in ("yes", "maybe"):
            rows.append({"question": "labels judged by eye", "network": "pretrained", "case": case,
                         "measure": f"wrong: {answer}", "value": int((first == answer).sum())})  # fmt: skip
    results.record(RESULTS, rows, ["question", "network", "case", "measure"])


if __name__ == "__main__":
    cli.run(main)
