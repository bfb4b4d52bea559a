"""Fit a regression by a formula, package it, and ask the packaged copy.

Run it with `python examples/statsmodels/blood_pressure.py`.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

import statsmodels.formula.api as smf
from sklearn.datasets import load_diabetes

import truss


def main() -> None:
    patients = load_diabetes(as_frame=True, scaled=False).frame
    results = smf.ols("target ~ bmi + bp", patients).fit()

    with TemporaryDirectory() as folder:
        request = {"inputs": [{"bmi": 32.1, "bp": 101.0}, {"bmi": 21.6, "bp": 87.0}]}
        scaf = truss.create(results, Path(folder) / "patients", examples=[request])
        print(scaf.server_predict(request))


if __name__ == "__main__":
    main()
