"""What goes along with an image: what it is made of, and how it was made."""

from __future__ import annotations

from truss.build import provenance, sbom
from truss.build.components import Materials
from truss.oci import Artifact, Blob, build_artifact
from truss.oci.descriptor import canonical_json


def attestations(made_of: Materials) -> tuple[Artifact, ...]:
    """The bill of materials and the provenance of an image, to be attached to it."""
    bill = Blob.of(canonical_json(sbom.bill_of_materials(made_of)), sbom.MEDIA_TYPE)
    statement = Blob.of(canonical_json(provenance.provenance(made_of)), provenance.MEDIA_TYPE)
    return (
        build_artifact(made_of.image, sbom.MEDIA_TYPE, [bill]),
        build_artifact(
            made_of.image,
            provenance.MEDIA_TYPE,
            [statement],
            annotations={"in-toto.io/predicate-type": provenance.PREDICATE},
        ),
    )
