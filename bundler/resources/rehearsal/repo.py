"""Judge a feature repo inside an image, by the image's own Feast; needs no network and connects to no store.

The argument is JSON: ``folder`` (the repo), ``variables`` (names that a Secret fills in at the site), ``mounts``
(folders that volumes hide at the site). The answer is JSON on the last line of standard output: ``problems`` and
``notes``, each with ``kind``, ``place`` (a file with line below the folder, or a path in feature_store.yaml),
``what`` and ``name``. A problem ends a build, a note does not.
"""

import ast
import contextlib
import glob
import importlib
import importlib.util
import io
import json
import os
import re
import signal
import sys
import tempfile
import traceback
import warnings
from pathlib import Path
from urllib.parse import urlsplit

IMPORT_SECONDS = 120  # seconds that one file may take to import
SENTENCE = 300  # characters of an error, of which some print tables and listings
FILE = "feature_store.yaml"
VARIABLE = re.compile(r"\$(?:([A-Za-z_][A-Za-z0-9_]*)|\{([A-Za-z_][A-Za-z0-9_]*)\})")
# (section, function of feast.repo_config that finds the class of its type, key of the type, its default)
SECTIONS = (
    ("online_store", "get_online_config_from_type", "type", "sqlite"),
    ("offline_store", "get_offline_config_from_type", "type", "dask"),
    ("registry", "get_registry_config_from_type", "registry_type", "file"),
    ("batch_engine", "get_batch_engine_config_from_type", "type", "local"),
    ("feature_server", "get_feature_server_config_from_type", "type", "local"),
)
# How pydantic names what it wants, and a text that YAML reads as that.
KINDS = (
    ("int", "1"),
    ("float", "1.0"),
    ("decimal", "1"),
    ("bool", "true"),
    ("dict", "{}"),
    ("mapping", "{}"),
    ("model", "{}"),
    ("list", "[]"),
    ("tuple", "[]"),
    ("set", "[]"),
    ("url", "https://placeholder.invalid"),
    ("string", "'1'"),
)
UNREACHABLE = re.compile(
    r"name resolution|Name or service not known|could not translate host name|Connection refused|Network is unreachable"
)
UNIMPORTABLE = "unimportable"  # a class that feature_store.yaml names; the check of imports says why
# What Feast collects from a file.
DEFINES = re.compile(
    r"^(\w+\s*=\s*(Entity|\w*FeatureView|FeatureService|Permission|Project|\w+Source)\(|@\w*_feature_view)",
    re.MULTILINE,
)
THIS_POD = re.compile(r"^(localhost|127\.[\d.]+|::1|0\.0\.0\.0)$")
PROBLEMS, NOTES = [], []


def tell(rows, kind, place, what, name=""):
    row = {"kind": kind, "place": place, "what": " ".join(str(what).split())[:400], "name": name}
    if row not in rows:
        rows.append(row)


def message_of(error):
    text = " ".join(str(error).split())[:SENTENCE]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


# --- feature_store.yaml


def expanded(text, values):
    return VARIABLE.sub(lambda match: values.get(match[1] or match[2], match[0]), text)


def at(tree, path):
    """Return the value at the longest part of a path that exists, and that part; unions add steps of their own."""
    taken = []
    for step in path:
        inner = isinstance(tree, dict) and step in tree
        if not inner and not (isinstance(tree, list) and isinstance(step, int) and step < len(tree)):
            break
        tree = tree[step]
        taken.append(step)
    return tree, taken


def section_errors(raw, module):
    """Yield (path, what, pydantic's type, what was expected) for what the classes of the sections refuse."""
    for name, finder, key, default in SECTIONS:
        value = raw.get(name)
        if not isinstance(value, dict) or not hasattr(module, finder):
            continue
        try:
            model = getattr(module, finder)(value.get(key, default))
        except Exception:  # noqa: BLE001, S112  (a class that cannot be imported is told by the import check)
            continue
        yield from model_errors(model, value, (name,))


def model_errors(model, value, path):
    from pydantic import ValidationError

    try:
        model(**value)
    except ValidationError as error:
        for row in error.errors():
            yield (*path, *row["loc"]), row["msg"], row["type"], row.get("ctx", {}).get("expected")
    except Exception as error:  # noqa: BLE001
        yield path, message_of(error), UNIMPORTABLE if "ImportError" in type(error).__name__ else "", None


def wanted(kind, expected):
    if isinstance(expected, str) and (choice := re.search(r"'([^']+)'", expected)):
        return choice[1]
    return next((text for name, text in KINDS if kind.startswith(name)), None)


def read_config(folder, variables):
    """Load the file with a stand-in for each variable, of the kind that its place wants; tell what Feast refuses."""
    import yaml
    from feast import repo_config

    text = (Path(folder) / FILE).read_text()
    template = yaml.safe_load(text)
    values = dict.fromkeys(variables, "placeholder")
    tried = set()
    while True:
        raw = yaml.safe_load(expanded(text, values))
        errors = list(section_errors(raw, repo_config)) or list(model_errors(repo_config.RepoConfig, copied(raw), ()))
        changed = False
        for path, _, kind, expected in errors:
            written = at(template, path)[0]
            alone = VARIABLE.fullmatch(written) if isinstance(written, str) else None
            better = wanted(kind, expected) if alone else None
            name = (alone[1] or alone[2]) if alone else ""
            if better is not None and (name, better) not in tried:
                tried.add((name, better))
                values[name] = better
                changed = True
        if not changed:
            break
    os.environ.update({name: value.strip("'") for name, value in values.items()})
    for path, what, kind, _ in errors:
        if kind == UNIMPORTABLE:
            tell(PROBLEMS, kind, FILE, what)
            continue
        place = [str(step) for step in (path if kind == "extra_forbidden" else at(template, path)[1])]
        tell(PROBLEMS, "key", ".".join(place) or "project", what, kind)
    unknown_keys(raw, repo_config)
    return None if errors else loaded(folder, raw, repo_config)


def copied(raw):
    return json.loads(json.dumps(raw, default=str))  # Feast's validators write into what they are given


def unknown_keys(raw, repo_config):
    fields = repo_config.RepoConfig.model_fields
    known = set(fields) | {field.alias for field in fields.values() if field.alias}
    for key in raw:
        if key not in known:
            tell(NOTES, "ignored-key", str(key), "this release of Feast does not know the key, and ignores it")


def loaded(folder, raw, repo_config):
    config = None
    try:
        config = repo_config.RepoConfig(**copied(raw))
        config.repo_path = Path(folder)
        for name in ("registry", "offline_store", "online_store", "auth_config", "openlineage", "mlflow"):
            getattr(config, name, None)
    except Exception as error:  # noqa: BLE001
        # A class that cannot be imported is told by the import check, with the reason that Feast hides here.
        if "ImportError" not in type(error).__name__:
            tell(PROBLEMS, "key", "project", message_of(error))
    return config


# --- definitions


class Watch:
    """Remember who reaches for the network while definitions are imported."""

    def __init__(self, folder):
        self.folder, self.active, self.reached = folder, "", []
        sys.addaudithook(self.hook)

    def hook(self, event, arguments):
        """Take note of an address that Python's sockets are asked for."""
        if not self.active or event not in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname"):
            return
        address = arguments[1] if event == "socket.connect" else arguments[:2]
        if isinstance(address, tuple) and address and address[0]:
            host = address[0].decode(errors="replace") if isinstance(address[0], bytes) else str(address[0])
            port = f":{address[1]}" if len(address) > 1 and address[1] else ""
            self.reached.append((self.place(), host + port))

    def place(self):
        """Return the line of the repo that is being run."""
        frame = sys._getframe()
        while frame:
            if inside(frame.f_code.co_filename, self.folder):
                return f"{below(frame.f_code.co_filename, self.folder)}:{frame.f_lineno}"
            frame = frame.f_back
        return self.active


def inside(name, folder):
    return name.startswith(folder + "/")


def below(name, folder):
    return name[len(folder) + 1 :]


def place_of(error, file, folder):
    if isinstance(error, SyntaxError) and error.filename and inside(error.filename, folder):
        return f"{below(error.filename, folder)}:{error.lineno or 1}"
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if inside(frame.filename, folder)]
    return f"{below(frames[-1].filename, folder)}:{frames[-1].lineno}" if frames else f"{below(file, folder)}:1"


def network_like(error):
    while error is not None:
        names = {kind.__name__ for kind in type(error).__mro__}
        if names & {"ConnectionError", "gaierror", "herror", "URLError", "EndpointConnectionError", "ConnectError"}:
            return True
        if isinstance(error, OSError) and error.errno in (1, 13, 97, 101, 110, 111, 113):  # refused, not to be reached
            return True
        if UNREACHABLE.search(str(error)):  # of a library that does not ask Python's sockets
            return True
        error = error.__cause__ or error.__context__
    return False


def relative(error):
    return isinstance(error, (ImportError, TypeError)) and "relative import" in str(error)


def unset(error):
    """Return the variable that a definition reads from the environment and nothing sets, empty where that is not it."""
    frames = traceback.extract_tb(error.__traceback__)
    of_environment = isinstance(error, KeyError) and frames and frames[-1].filename in (os.__file__, "<frozen os>")
    return str(error.args[0]) if of_environment else ""


def failed(error, file, folder, reached):
    place, what = place_of(error, file, folder), message_of(error)
    if isinstance(error, SyntaxError):
        what = f"{type(error).__name__}: {error.msg}"
    address = next((address for where, address in reached if where == place), reached[-1][1] if reached else "")
    library = re.search(r"(lib[\w.+-]+\.so[\w.]*): cannot open shared object", what)
    if library:
        tell(PROBLEMS, "library", place, what, library[1])
    elif isinstance(error, ModuleNotFoundError):
        tell(PROBLEMS, "module", place, what, error.name or "")
        missing_beside(file, folder, error.name or "")
    elif relative(error):
        tell(PROBLEMS, "relative", place, what)
    elif isinstance(error, ImportError):
        tell(PROBLEMS, "name", place, what, error.name or "")
    elif network_like(error):
        tell(PROBLEMS, "network", place, f"reaches for {address or 'a server'} at import, and fails: {what}", address)
    elif name := unset(error):
        tell(PROBLEMS, "variable", place, f"reads the variable {name}, which is not set", name)
    elif isinstance(error, SystemExit):
        tell(PROBLEMS, "exit", place, f"ends the program at import: {what}")
    else:
        tell(PROBLEMS, "syntax" if isinstance(error, SyntaxError) else "import", place, what)


def missing_beside(file, folder, known):
    """Tell the other modules that the same file imports and the image does not have."""
    with contextlib.suppress(OSError, SyntaxError, ValueError):
        for node, name in imported(ast.parse(Path(file).read_bytes()).body):
            top = name.partition(".")[0]
            if top == known.partition(".")[0]:
                continue
            with contextlib.suppress(ImportError, ValueError, AttributeError):
                if top not in sys.modules and importlib.util.find_spec(top) is None:
                    what = f"ModuleNotFoundError: No module named {top!r}"
                    tell(PROBLEMS, "module", f"{below(file, folder)}:{node.lineno}", what, top)


def imported(body):
    """Yield what is imported whatever happens: not in functions, nor where a failure is caught."""
    for node in body:
        if isinstance(node, ast.Import):
            yield from ((node, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            yield node, node.module
        elif isinstance(node, ast.ClassDef):
            yield from imported(node.body)


def late(*_):
    raise TimeoutError(f"the import took more than {IMPORT_SECONDS} s")


def repo_files(folder):
    """Return the files that ``feast apply`` imports, None where it cannot tell."""
    from feast.repo_operations import get_repo_files

    try:
        return get_repo_files(Path(folder))
    except Exception as error:  # noqa: BLE001  (a pattern that glob does not take, a text that is not UTF-8)
        tell(PROBLEMS, "ignore", ".feastignore", message_of(error))
        return None


def module_name(file, folder):
    """Return the name that Feast imports a file by, empty where there is none; the reason is told."""
    from feast.repo_operations import py_path_to_module

    path = below(str(file), folder)
    if "." in path.removesuffix(".py"):
        what = f"Feast imports it as {py_path_to_module(file)}: no folder and no file may have a point in its name"
        tell(PROBLEMS, "path", f"{path}:1", what)
        return ""
    return py_path_to_module(file)


def taken_for(module, file, folder):
    """Tell of a file with definitions that is never read, because its name is that of another module."""
    other = getattr(module, "__file__", None) or "a module of Python itself"
    if os.path.realpath(other) == os.path.realpath(file) or not DEFINES.search(Path(file).read_text(errors="replace")):
        return
    what = f"is never read: Python takes {other} for the module {module.__name__}"
    tell(PROBLEMS, "shadowed", f"{below(str(file), folder)}:1", what, module.__name__)


def import_all(folder, watch):
    """Import each file as ``feast apply`` does, and tell every one that fails; return whether all could be."""
    before = len(PROBLEMS)
    signal.signal(signal.SIGALRM, late)
    for file in repo_files(folder) or ():
        watch.active, watch.reached[:] = f"{below(str(file), folder)}:1", []
        try:
            signal.alarm(IMPORT_SECONDS)
            if name := module_name(file, folder):
                taken_for(importlib.import_module(name), file, folder)
        except BaseException as error:  # noqa: BLE001  (a definition may raise anything, SystemExit included)
            failed(error, str(file), folder, watch.reached)
        else:
            for place, address in watch.reached:
                tell(NOTES, "network", place, f"reaches for {address} at import, and continues without it", address)
        finally:
            signal.alarm(0)
            if os.getcwd() != folder:
                tell(PROBLEMS, "chdir", watch.active, f"changes the working folder to {os.getcwd()}")
                os.chdir(folder)
            watch.active = ""
    return len(PROBLEMS) == before


def contents(folder, project):
    """Return Feast's own collection of the definitions, None where it refuses them."""
    from feast.repo_operations import _get_repo_contents

    spoken = io.StringIO()
    try:
        with contextlib.redirect_stdout(spoken):
            return _get_repo_contents(Path(folder), project)
    except SystemExit:
        lines = spoken.getvalue().strip().splitlines()
        tell(PROBLEMS, "apply", FILE, lines[-1] if lines else "feast apply ends")
    except Exception as error:  # noqa: BLE001
        tell(PROBLEMS, "apply", place_of(error, f"{folder}/{FILE}", folder), message_of(error))
    return None


# --- sources


def is_file(source):
    return any(kind.__name__ == "FileSource" for kind in type(source).__mro__)


def views(repo):
    return [*repo.feature_views, *repo.stream_feature_views]


def source_of(view):
    source = getattr(view, "batch_source", None)
    inner = getattr(source, "batch_source", None)  # of a PushSource
    return inner or source


def check_sources(repo, folder, mounts):
    """Tell what sources read and the image does not have; return whether all are files of the image."""
    complete = True
    read = {id(source_of(view)) for view in views(repo)}
    for source in repo.data_sources:
        kind, name = type(source).__name__, getattr(source, "name", "")
        if kind in ("RequestSource", "PushSource"):
            continue
        if not is_file(source):
            tell(NOTES, "source", kind, f"{kind} {name!r} is read at the site", kind)
            complete = complete and id(source) not in read
            continue
        path = str(source.path)
        if "://" in path and not path.startswith("file://"):
            endpoint = str(getattr(source, "s3_endpoint_override", "") or "")
            at_home = THIS_POD.match(urlsplit(endpoint).hostname or "")
            what = f"FileSource {name!r} reads {path.partition('?')[0]}{f' at {endpoint}' if endpoint else ''}"
            rows, kind = (PROBLEMS, "pod") if at_home and id(source) in read else (NOTES, "address")
            tell(rows, kind, line_of(folder, "Source(", path, name), what, path)
            complete = complete and id(source) not in read
            continue
        full = os.path.normpath(os.path.join(folder, path.removeprefix("file://")))
        if os.path.exists(full) or glob.glob(full):
            continue
        complete = complete and id(source) not in read
        place = line_of(folder, "Source(", path, name)
        what = f"FileSource {name!r} reads {full}, which the image does not have"
        if any(f"{full}/".startswith(f"{mount.rstrip('/')}/") for mount in mounts):
            tell(NOTES, "mounted", place, f"FileSource {name!r} reads {full}, which must be on the volume", full)
        else:
            tell(PROBLEMS if id(source) in read else NOTES, "file", place, what, full)
    return complete


def line_of(folder, word, *texts):
    """Return where one of the texts is written in the Python of the repo, best with a word in the lines before it."""
    places = []
    for text in texts:
        quoted = re.compile(rf"""["'/]{re.escape(os.path.basename(text))}["']""")
        for file in sorted(Path(folder).rglob("*.py")):
            with contextlib.suppress(OSError, ValueError):
                lines = file.read_text().splitlines()
                for number in (number for number, line in enumerate(lines, 1) if quoted.search(line)):
                    near = any(word in line for line in lines[max(0, number - 3) : number])
                    places.append((not near, len(places), f"{below(str(file), folder)}:{number}"))
    return min(places)[2] if places else FILE


def check_columns(repo, config, folder):
    """Tell which columns views read and the files of their sources do not have."""
    for view in views(repo):
        source = source_of(view)
        if source is None or not is_file(source) or "://" in str(source.path):
            continue
        try:
            there = {name for name, _ in source.get_table_column_names_and_types(config)}
        except ImportError:
            continue
        except Exception as error:  # noqa: BLE001
            if os.path.exists(os.path.join(folder, str(source.path))):
                what = f"{source.path} cannot be read: {message_of(error)}"
                tell(PROBLEMS, "data", line_of(folder, "Source(", str(source.path), source.name), what)
            continue
        written = {feature: column for column, feature in (source.field_mapping or {}).items()}
        asked = [source.timestamp_field, source.created_timestamp_column]
        made = any(getattr(view, name, None) for name in ("udf", "feature_transformation", "aggregations"))
        if not made:
            asked += [field.name for field in view.features]
            asked += [column.name for column in view.entity_columns if not column.name.startswith("__dummy")]
        lacking = [name for name in asked if name and written.get(name, name) not in there and name not in there]
        if lacking:
            what = f"{source.path} has no column {', '.join(lacking)}, which the view {view.name!r} reads"
            tell(PROBLEMS, "data", line_of(folder, "View(", view.name), what)


def try_apply(repo, config, folder):
    """Do what ``feast apply`` does, with a registry in a file and without an online store."""
    from feast import FeatureStore, repo_config
    from feast.repo_operations import apply_total_with_repo_instance

    with tempfile.TemporaryDirectory() as work:
        settings = {
            "project": config.project,
            "provider": "local",
            "registry": {"registry_type": "file", "path": f"{work}/registry.db"},
            "online_store": None,
            "offline_store": {"type": "dask"},
            "entity_key_serialization_version": config.entity_key_serialization_version,
        }
        local = repo_config.RepoConfig(**settings)
        local.repo_path = Path(folder)
        store = FeatureStore(config=local)
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                apply_total_with_repo_instance(store, config.project, store.registry, repo, True)  # noqa: FBT003
        except ImportError as error:
            failed(error, f"{folder}/{FILE}", folder, [])
        except BaseException as error:  # noqa: BLE001
            place = place_of(error, f"{folder}/{FILE}", folder)
            names = re.findall(r"[A-Za-z_]\w*", str(error))
            known = {
                definition.name for definition in [*views(repo), *repo.on_demand_feature_views, *repo.feature_services]
            }
            if place.startswith(FILE):
                place = line_of(folder, "View(", *(name for name in dict.fromkeys(names) if name in known))
            tell(PROBLEMS, "apply", place, message_of(error))


def judge(folder, variables, mounts):
    """Tell everything that is known to go wrong; return how many objects the repo defines."""
    os.chdir(folder)
    sys.path[:] = [path for path in sys.path if path] + [folder]
    sys.dont_write_bytecode = True
    warnings.simplefilter("ignore")
    try:
        config = read_config(folder, variables)
    except ImportError as error:
        failed(error, f"{folder}/{FILE}", folder, [])
        return 0
    except Exception as error:  # noqa: BLE001  (a library that is built for another release of numpy, say)
        tell(PROBLEMS, "apply", FILE, message_of(error))
        return 0
    if not import_all(folder, Watch(folder)):
        return 0
    project = config.project if config else None
    repo = contents(folder, project) if project else None
    if repo is None or config is None:
        return 0
    before = len(PROBLEMS)
    complete = check_sources(repo, folder, mounts)
    check_columns(repo, config, folder)
    if complete and len(PROBLEMS) == before:
        try_apply(repo, config, folder)
    return len(views(repo)) + len(repo.on_demand_feature_views)


def main():
    asked = json.loads(sys.argv[1])
    answers = os.dup(1)  # definitions may do to standard output what they like
    count = judge(os.path.realpath(asked["folder"]), asked["variables"], asked["mounts"])
    with contextlib.suppress(Exception):
        sys.stdout.flush()
    with open(answers, "w") as stream:
        stream.write("\n" + json.dumps({"problems": PROBLEMS, "notes": NOTES, "views": count}) + "\n")
    os._exit(0)  # whatever threads and exit handlers the definitions have left


main()
