# SPDX-License-Identifier: MIT
"""Whether a SARIF 2.1.0 log is one, by hand: what sections 3.13 to 3.58 of the specification (OASIS, SARIF 2.1.0) say of
the objects that dmakit writes. No member is taken that is not listed here.

Where DMAKIT_SARIF_SCHEMA names the JSON schema that OASIS publishes, and Python has jsonschema, the log is held to that as
well; the schema's text is not ours to bring along."""
import json
import os
import re

URI_REFERENCE = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*:)?([A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=]|%[0-9A-Fa-f]{2})*")
LEVELS = {"none", "note", "warning", "error"}


class Bad(AssertionError):
    pass


def need(condition, where, what):
    if not condition:
        raise Bad(f"{where}: {what}")


def text(value, where):
    need(isinstance(value, str), where, f"{value!r} is no string")
    value.encode("utf-8")  # lone surrogates fail


def number(least):
    def check(value, where):
        need(isinstance(value, int) and not isinstance(value, bool) and value >= least, where, f"{value!r} is not from {least} on")
    return check


def one_of(*values):
    def check(value, where):
        need(value in values, where, f"{value!r} is none of {values}")
    return check


def reference(value, where):
    text(value, where)
    need(URI_REFERENCE.fullmatch(value), where, f"{value!r} is no URI reference")
    need(":" not in value.split("/")[0] or re.match(r"[A-Za-z][A-Za-z0-9+.-]*:", value), where, f"{value!r}")


def uri(value, where):
    reference(value, where)
    need(re.match(r"[A-Za-z][A-Za-z0-9+.-]+:", value), where, f"{value!r} is not absolute")


def flag(value, where):
    need(isinstance(value, bool), where, f"{value!r} is no boolean")


def array(of, least=0):
    def check(value, where):
        need(isinstance(value, list) and len(value) >= least, where, "no array, or too short")
        for index, item in enumerate(value):
            of(item, f"{where}[{index}]")
    return check


def strings(value, where):
    need(isinstance(value, dict), where, "no object")
    for key, item in value.items():
        text(item, f"{where}.{key}")


def bag(value, where):
    need(isinstance(value, dict), where, "no object")


def object_of(required=(), **members):
    def check(value, where):
        need(isinstance(value, dict), where, "no object")
        for name in required:
            need(name in value, where, f"no {name}")
        for name, item in value.items():
            need(name in members, where, f"no member {name} is known")
            members[name](item, f"{where}.{name}")
    return check


MESSAGE = object_of(["text"], text=text)
ARTIFACT = object_of(["uri"], uri=reference)
PHYSICAL = object_of(["artifactLocation"], artifactLocation=ARTIFACT, region=object_of(["startLine"], startLine=number(1)))
LOCATION = object_of(physicalLocation=PHYSICAL, logicalLocations=array(object_of(["name"], name=text, kind=one_of("function"))),
                     message=MESSAGE)
STACK = object_of(["frames"], message=MESSAGE, frames=array(object_of(location=LOCATION, module=text)))
FLOW = object_of(["threadFlows"],
                 threadFlows=array(object_of(["locations"], locations=array(object_of(location=LOCATION), 1)), 1))
RESULT = object_of(["message", "ruleId"], ruleId=text, ruleIndex=number(0), level=one_of(*LEVELS), message=MESSAGE,
                   locations=array(LOCATION), relatedLocations=array(LOCATION), codeFlows=array(FLOW), stacks=array(STACK),
                   partialFingerprints=strings, occurrenceCount=number(1), properties=bag,
                   suppressions=array(object_of(["kind"], kind=one_of("external", "inSource"), justification=text)))
RULE = object_of(["id"], id=text, shortDescription=MESSAGE, help=MESSAGE, helpUri=uri,
                 defaultConfiguration=object_of(level=one_of(*LEVELS)))
NOTIFICATION = object_of(["message"], message=MESSAGE, level=one_of(*LEVELS), properties=bag)
INVOCATION = object_of(["executionSuccessful"], executionSuccessful=flag, commandLine=text, arguments=array(text),
                       toolExecutionNotifications=array(NOTIFICATION), properties=bag)
DRIVER = object_of(["name"], name=text, version=text, rules=array(RULE))
LOG = object_of(["version", "runs"], **{
    "$schema": uri, "version": one_of("2.1.0"),
    "runs": array(object_of(["tool"], tool=object_of(["driver"], driver=DRIVER), invocations=array(INVOCATION),
                            columnKind=one_of("unicodeCodePoints", "utf16CodeUnits"), results=array(RESULT)), 1)})


def check_by_schema(log):
    path = os.environ.get("DMAKIT_SARIF_SCHEMA")
    if not path:
        return
    import jsonschema
    with open(path, encoding="utf-8") as file:
        schema = json.load(file)
    validator = jsonschema.validators.validator_for(schema)
    errors = list(validator(schema, format_checker=validator.FORMAT_CHECKER).iter_errors(log))
    need(not errors, "schema", "; ".join(f"{list(error.absolute_path)}: {error.message[:200]}" for error in errors[:5]))


def no_member_twice(pairs):
    names = [name for name, _ in pairs]
    need(len(names) == len(set(names)), "object", f"a member twice among {names}")
    return dict(pairs)


def read(source):
    """The log in the string `source`; Bad when it is none."""
    log = json.loads(source, object_pairs_hook=no_member_twice)
    LOG(log, "log")
    for index, run in enumerate(log["runs"]):
        rules = run["tool"]["driver"]["rules"]
        names = [rule["id"] for rule in rules]
        need(len(names) == len(set(names)), f"run {index}", "a rule twice")
        for result in run["results"]:
            if "ruleIndex" in result:
                need(result["ruleIndex"] < len(rules) and names[result["ruleIndex"]] == result["ruleId"], f"run {index}",
                     f"{result['ruleId']} is not rule {result['ruleIndex']}")
            else:
                need(result["ruleId"] not in names, f"run {index}", f"{result['ruleId']} without its index")
    check_by_schema(log)
    return log
