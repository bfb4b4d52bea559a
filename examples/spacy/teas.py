"""Package a spaCy pipeline that finds names, and ask the packaged copy.

Run it with `python examples/spacy/teas.py`.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

import spacy

import truss


def main() -> None:
    nlp = spacy.blank("en")
    nlp.add_pipe("entity_ruler").add_patterns([{"label": "TEA", "pattern": "Earl Grey"}])

    with TemporaryDirectory() as folder:
        request = {"inputs": ["A cup of Earl Grey, please."]}
        scaf = truss.create(nlp, Path(folder) / "teas", examples=[request])
        print(scaf.server_predict(request))


if __name__ == "__main__":
    main()
