"""Built manifests against schemas: what Kubernetes knows by kubernetes-validate, for each version; what operators bring by their
own models where a package carries them (cert-manager, Istio, the Prometheus operator), else by the schemas in schemas/.

Usage: validate.py VERSION,VERSION... FILE...

No field may be there that the schema does not name: an API server would drop it, or refuse it. That this is so is tried: of each
kind, one resource gets a field more in each of its places, and must be refused.
"""

import copy
import functools
import importlib
import pathlib
import sys

import cloudcoil.pydantic
import jsonschema
import kubernetes_validate
import kubernetes_validate.utils
import pydantic
import yaml

# Before the models are made: they inherit it.
cloudcoil.pydantic.BaseModel.model_config["extra"] = "forbid"
# It would read megabytes of schemas anew for each resource.
for slow in ("schema_contents", "all_versions"):
    setattr(kubernetes_validate.utils, slow, functools.cache(getattr(kubernetes_validate.utils, slow)))
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
MODELS = {
    "cert-manager.io/v1": "cloudcoil.models.cert_manager.v1",
    "monitoring.coreos.com/v1": "cloudcoil.models.prometheus_operator.v1",
    "networking.istio.io/v1": "cloudcoil.models.istio.networking.v1",
    "security.istio.io/v1": "cloudcoil.models.istio.security.v1",
}


def close(schema):
    """What names its properties has no others."""
    if isinstance(schema, dict):
        if "properties" in schema:
            schema.setdefault("additionalProperties", False)
        for value in schema.values():
            close(value)
    elif isinstance(schema, list):
        for value in schema:
            close(value)
    return schema


def ours():
    """Kind by API version, of the schemas of our own: each is that of a spec."""
    found = {}
    for path in sorted(pathlib.Path(__file__).parent.glob("schemas/*.yaml")):
        text = yaml.safe_load(path.read_text())
        for kind, spec in text["kinds"].items():
            schema = close({"$defs": text.get("$defs", {}), **spec})
            jsonschema.Draft202012Validator.check_schema(schema)
            found[text["apiVersion"], kind] = jsonschema.Draft202012Validator(schema)
    return found


def custom(manifest, schemas):
    """What is wrong with a resource that Kubernetes itself does not know; None: it is known."""
    version, kind = manifest["apiVersion"], manifest["kind"]
    if (version, kind) in schemas:
        if extra := manifest.keys() - {"apiVersion", "kind", "metadata", "spec"}:
            return f"unexpected {', '.join(sorted(extra))}"
        error = jsonschema.exceptions.best_match(schemas[version, kind].iter_errors(manifest.get("spec")))
        return f"{error.json_path.replace('$', 'spec')}: {error.message}" if error else ""
    if version in MODELS:
        try:
            getattr(importlib.import_module(MODELS[version]), kind).model_validate(manifest)
            return ""
        except pydantic.ValidationError as error:
            return "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
    return None


def fault(manifest, versions, schemas):
    """What is wrong with a resource, or nothing."""
    wrong = custom(manifest, schemas)
    if wrong is not None:
        return wrong
    for version in versions:
        try:
            kubernetes_validate.validate(manifest, version, strict=True)
        except (kubernetes_validate.ValidationError, kubernetes_validate.SchemaNotFoundError) as error:
            return f"{version}: {getattr(error, 'message', error)}"
    return ""


# Maps whose keys are anybody's.
FREE = {"annotations", "data", "hard", "labels", "limits", "matchLabels", "parameters", "requests", "selector"}
FREE |= {"default", "defaultRequest", "metadata"}


def misspelt(manifest):
    """The resource with a field more, in each place that has named fields."""
    def places(value, path):
        if isinstance(value, dict):
            if not path or not (isinstance(path[-1], str) and path[-1] in FREE):
                yield path
            for key, inner in value.items():
                yield from places(inner, [*path, key])
        elif isinstance(value, list):
            for at, inner in enumerate(value):
                yield from places(inner, [*path, at])
    for path in places(manifest, []):
        wrong = copy.deepcopy(manifest)
        at = wrong
        for key in path:
            at = at[key]
        at["misspelt"] = "x"
        yield ".".join(map(str, path)) or "(top)", wrong


def main():
    versions, files = sys.argv[1].split(","), sys.argv[2:]
    schemas, faults, resources, kinds, refused = ours(), [], 0, set(), 0
    for file in map(pathlib.Path, files):
        for manifest in filter(None, yaml.load_all(file.read_text(), Loader=LOADER)):
            resources += 1
            place = f"{file.name}: {manifest['kind']} {manifest['metadata']['name']}"
            if wrong := fault(manifest, versions, schemas):
                faults.append(f"{place}: {wrong}")
            if (kind := (manifest["apiVersion"], manifest["kind"])) in kinds:
                continue
            kinds.add(kind)
            for where, wrong in misspelt(manifest):
                refused += 1
                if not fault(wrong, versions[-1:], schemas):
                    faults.append(f"{place}: a misspelt field in {where} is not refused")
    for line in faults:
        print(line, file=sys.stderr)
    print(
        f"{resources} resources of {len(kinds)} kinds in {len(files)} files, by {', '.join(versions)}: {len(faults)} faults; "
        f"{refused} misspelt fields refused"
    )
    sys.exit(bool(faults))


main()
