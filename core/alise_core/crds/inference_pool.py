"""``InferencePool``: what ALISE reads of the Gateway API's own pool. Nothing of it is written.

Source: kubernetes-sigs/gateway-api-inference-extension, ``api/v1/inferencepool_types.go``.
"""

from pydantic import Field

from alise_core.crds.base import Spec
from alise_core.crds.model_pool import PodSelector, TargetPort


class EndpointPickerRef(Spec):
    """The Service that another gateway would ask where a request goes."""

    group: str = Field(default="", max_length=253)
    kind: str = Field(default="Service", max_length=63)
    name: str = Field(min_length=1, max_length=253)


class InferencePoolSpec(Spec):
    """See the module."""

    selector: PodSelector
    target_ports: tuple[TargetPort, ...] = Field(min_length=1, max_length=8)
    endpoint_picker_ref: EndpointPickerRef | None = None
