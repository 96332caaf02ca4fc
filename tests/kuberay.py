"""What a RayJob of KubeRay 1.6 may say, as JSON schema: the fields that deploy/kuberay uses, and no others.

Types and names are those of KubeRay's custom resource (ray.io/v1) and of Kubernetes 1.34; a name that is not here is an
error, as `kubectl` with strict validation makes it one. The files were also held against the definitions that KubeRay
1.6.0, 1.6.2 and 1.7.0 install, which are too large to be kept here.
"""

from typing import Any

TEXT: dict[str, Any] = {"type": "string", "minLength": 1}
COUNT: dict[str, Any] = {"type": "integer", "minimum": 0}
FLAG: dict[str, Any] = {"type": "boolean"}
TEXTS: dict[str, Any] = {"type": "object", "additionalProperties": {"type": "string"}}


def fields(*required: str, **properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }


def items(item: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": item, "minItems": 1}


QUANTITY = {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?(m|Ki|Mi|Gi|Ti|k|M|G|T)?$"}
RESOURCES = fields(
    requests={"type": "object", "additionalProperties": QUANTITY},
    limits={"type": "object", "additionalProperties": QUANTITY},
)
CONTAINER_SECURITY = fields(
    allowPrivilegeEscalation={"const": False}, capabilities=fields("drop", drop={"const": ["ALL"]})
)
CONTAINER = fields(
    "name",
    "image",
    "resources",
    "securityContext",
    name=TEXT,
    image={"type": "string", "pattern": r":[^:/]*[0-9]"},  # with a tag, and not latest
    resources=RESOURCES,
    securityContext=CONTAINER_SECURITY,
    ports=items(fields("containerPort", name={**TEXT, "maxLength": 15}, containerPort=COUNT)),
)
POD = fields(
    "containers",
    "securityContext",
    containers=items(CONTAINER),
    securityContext=fields(
        "runAsNonRoot",
        "runAsUser",
        runAsNonRoot={"const": True},
        runAsUser={"type": "integer", "minimum": 1},
        runAsGroup={"type": "integer", "minimum": 1},
        fsGroup={"type": "integer", "minimum": 1},
        seccompProfile=fields("type", type={"enum": ["RuntimeDefault"]}),
    ),
    serviceAccountName=TEXT,
    nodeSelector=TEXTS,
    restartPolicy={"enum": ["Never", "OnFailure"]},
    tolerations=items(
        fields(
            key=TEXT,
            operator={"enum": ["Exists", "Equal"]},
            value=TEXT,
            effect={"enum": ["NoSchedule", "PreferNoSchedule", "NoExecute"]},
        )
    ),
)
METADATA = fields(name=TEXT, generateName=TEXT, labels=TEXTS, annotations=TEXTS)
POD_TEMPLATE = fields("spec", metadata=METADATA, spec=POD)
CLUSTER = fields(
    "rayVersion",
    "authOptions",
    "headGroupSpec",
    rayVersion=TEXT,
    authOptions=fields("mode", mode={"const": "token"}),
    enableInTreeAutoscaling=FLAG,
    autoscalerOptions=fields(
        idleTimeoutSeconds=COUNT,
        upscalingMode={"enum": ["Default", "Aggressive", "Conservative"]},
        securityContext=CONTAINER_SECURITY,
        resources=RESOURCES,
    ),
    headGroupSpec=fields("template", rayStartParams=TEXTS, template=POD_TEMPLATE),
    workerGroupSpecs=items(
        fields(
            "groupName",
            "minReplicas",
            "maxReplicas",
            "template",
            groupName=TEXT,
            replicas=COUNT,
            minReplicas=COUNT,
            maxReplicas=COUNT,
            rayStartParams=TEXTS,
            template=POD_TEMPLATE,
        )
    ),
)
RAY_JOB = fields(
    "apiVersion",
    "kind",
    "metadata",
    "spec",
    apiVersion={"const": "ray.io/v1"},
    kind={"const": "RayJob"},
    metadata=METADATA,
    spec=fields(
        "entrypoint",
        "rayClusterSpec",
        "shutdownAfterJobFinishes",
        "ttlSecondsAfterFinished",
        entrypoint=TEXT,
        shutdownAfterJobFinishes=FLAG,
        ttlSecondsAfterFinished=COUNT,
        backoffLimit=COUNT,
        submitterPodTemplate=POD_TEMPLATE,
        rayClusterSpec=CLUSTER,
    ),
)
