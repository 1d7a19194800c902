"""What brings a module or a shared library that an image lacks: distributions of PyPI, packages of Debian and UBI."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

# Module -> the distributions that bring it, the usual one first. Others have the name of their module.
_DISTRIBUTIONS: Final[Mapping[str, tuple[str, ...]]] = {
    "attr": ("attrs",),
    "bs4": ("beautifulsoup4",),
    "clickhouse_driver": ("clickhouse-driver",),
    "confluent_kafka": ("confluent-kafka",),
    "Crypto": ("pycryptodome",),
    "cv2": ("opencv-python-headless", "opencv-python"),
    "dateutil": ("python-dateutil",),
    "dbt": ("dbt-core",),
    "delta": ("delta-spark",),
    "dns": ("dnspython",),
    "docx": ("python-docx",),
    "dotenv": ("python-dotenv",),
    "faiss": ("faiss-cpu",),
    "fitz": ("PyMuPDF",),
    "git": ("GitPython",),
    "great_expectations": ("great-expectations",),
    "grpc": ("grpcio",),
    "grpc_health": ("grpcio-health-checking",),
    "grpc_reflection": ("grpcio-reflection",),
    "grpc_tools": ("grpcio-tools",),
    "jose": ("python-jose",),
    "jwt": ("PyJWT",),
    "kafka": ("kafka-python", "kafka-python-ng"),
    "ldap": ("python-ldap",),
    "lxml": ("lxml",),
    "magic": ("python-magic",),
    "markdown": ("Markdown",),
    "MySQLdb": ("mysqlclient",),
    "OpenSSL": ("pyOpenSSL",),
    "PIL": ("pillow",),
    "pkg_resources": ("setuptools",),
    "psycopg": ("psycopg[binary]",),
    "psycopg2": ("psycopg2-binary", "psycopg2"),
    "pyflink": ("apache-flink",),
    "pyhive": ("PyHive",),
    "pythonjsonlogger": ("python-json-logger",),
    "ruamel": ("ruamel.yaml",),
    "sentence_transformers": ("sentence-transformers",),
    "sklearn": ("scikit-learn",),
    "skimage": ("scikit-image",),
    "slugify": ("python-slugify",),
    "snowflake": ("snowflake-connector-python", "snowflake-snowpark-python"),
    "tensorflow": ("tensorflow", "tensorflow-cpu"),
    "usaddress": ("usaddress",),
    "win32com": ("pywin32",),
    "yaml": ("PyYAML",),
    "zmq": ("pyzmq",),
}
# Packages that share a top module: the name of the distribution follows from the second or third part.
_SHARED: Final[Mapping[str, str]] = {
    "google.protobuf": "protobuf",
    "google.auth": "google-auth",
    "google.oauth2": "google-auth",
    "google.api_core": "google-api-core",
    "googleapiclient": "google-api-python-client",
    "google.cloud.bigquery": "google-cloud-bigquery",
    "google.cloud.bigquery_storage": "google-cloud-bigquery-storage",
    "google.cloud.bigtable": "google-cloud-bigtable",
    "google.cloud.datastore": "google-cloud-datastore",
    "google.cloud.storage": "google-cloud-storage",
    "azure.identity": "azure-identity",
    "azure.storage.blob": "azure-storage-blob",
    "azure.keyvault.secrets": "azure-keyvault-secrets",
    "ruamel.yaml": "ruamel.yaml",
    "snowflake.connector": "snowflake-connector-python",
    "snowflake.snowpark": "snowflake-snowpark-python",
    "opentelemetry.sdk": "opentelemetry-sdk",
    "opentelemetry": "opentelemetry-api",
}
# Not for the image: what tests, notebooks and the development of a repo import.
_OF_TESTS: Final = frozenset({"pytest", "hypothesis", "nose", "testcontainers", "moto", "tox", "nox", "locust"})
_OF_NOTEBOOKS: Final = frozenset({"IPython", "ipykernel", "jupyter", "nbformat", "matplotlib", "seaborn", "streamlit"})
# Beginning of a library's file name -> its package in Debian and in UBI (RHEL), "" where it has none.
_LIBRARIES: Final[tuple[tuple[str, str, str], ...]] = (
    ("libpq.so.5", "libpq5", "libpq"),
    ("libgomp.so.1", "libgomp1", "libgomp"),
    ("libgfortran.so.5", "libgfortran5", "libgfortran"),
    ("libquadmath.so.0", "libquadmath0", "libquadmath"),
    ("libstdc++.so.6", "libstdc++6", "libstdc++"),
    ("libgeos_c.so.1", "libgeos-c1v5", "geos"),
    ("libproj.so.25", "libproj25", "proj"),
    ("libgdal.so.32", "libgdal32", "gdal-libs"),
    ("libspatialindex", "libspatialindex6", "spatialindex"),
    ("libodbc.so.2", "libodbc2", "unixODBC"),
    ("libodbcinst.so.2", "libodbcinst2", "unixODBC"),
    ("libtdsodbc.so", "tdsodbc", "freetds"),
    ("libsybdb.so.5", "libsybdb5", "freetds-libs"),
    ("libct.so.4", "libct4", "freetds-libs"),
    ("libmariadb.so.3", "libmariadb3", "mariadb-connector-c"),
    ("libmysqlclient.so", "", "mysql-libs"),
    ("libsnappy.so.1", "libsnappy1v5", "snappy"),
    ("librdkafka.so.1", "librdkafka1", "librdkafka"),
    ("libGL.so.1", "libgl1", "mesa-libGL"),
    ("libEGL.so.1", "libegl1", "mesa-libEGL"),
    ("libglib-2.0.so.0", "libglib2.0-0", "glib2"),
    ("libgthread-2.0.so.0", "libglib2.0-0", "glib2"),
    ("libSM.so.6", "libsm6", "libSM"),
    ("libICE.so.6", "libice6", "libICE"),
    ("libX11.so.6", "libx11-6", "libX11"),
    ("libXext.so.6", "libxext6", "libXext"),
    ("libXrender.so.1", "libxrender1", "libXrender"),
    ("libfontconfig.so.1", "libfontconfig1", "fontconfig"),
    ("libfreetype.so.6", "libfreetype6", "freetype"),
    ("libcairo.so.2", "libcairo2", "cairo"),
    ("libpango-1.0.so.0", "libpango-1.0-0", "pango"),
    ("libsndfile.so.1", "libsndfile1", "libsndfile"),
    ("libmagic.so.1", "libmagic1", "file-libs"),
    ("libxml2.so.2", "libxml2", "libxml2"),
    ("libxslt.so.1", "libxslt1.1", "libxslt"),
    ("libsasl2.so.", "libsasl2-2", "cyrus-sasl-lib"),
    ("libldap", "libldap-2.5-0", "openldap"),
    ("liblber", "libldap-2.5-0", "openldap"),
    ("libkrb5.so.3", "libkrb5-3", "krb5-libs"),
    ("libgssapi_krb5.so.2", "libgssapi-krb5-2", "krb5-libs"),
    ("libcurl.so.4", "libcurl4", "libcurl"),
    ("libffi.so.8", "libffi8", "libffi"),
    ("libsqlite3.so.0", "libsqlite3-0", "sqlite-libs"),
    ("libaio.so.1", "libaio1", "libaio"),
    ("libcrypt.so.1", "libcrypt1", "libxcrypt-compat"),
    ("libnsl.so.1", "libnsl2", "libnsl"),
    ("libopenblas.so.0", "libopenblas0", "openblas-serial"),
    ("liblapack.so.3", "liblapack3", "lapack"),
    ("libblas.so.3", "libblas3", "blas"),
    ("libhdf5", "libhdf5-103-1", "hdf5"),
    ("libjemalloc.so.2", "libjemalloc2", "jemalloc"),
    ("libtcmalloc", "libtcmalloc-minimal4", "gperftools-libs"),
    ("libnuma.so.1", "libnuma1", "numactl-libs"),
    ("libuuid.so.1", "libuuid1", "libuuid"),
    ("libzstd.so.1", "libzstd1", "libzstd"),
    ("liblz4.so.1", "liblz4-1", "lz4-libs"),
    ("libbz2.so.1", "libbz2-1.0", "bzip2-libs"),
    ("liblzma.so.5", "liblzma5", "xz-libs"),
    ("libz.so.1", "zlib1g", "zlib"),
    ("libevent-2.1.so.7", "libevent-2.1-7", "libevent"),
    ("libpython3.11.so", "libpython3.11", ""),
    ("libjvm.so", "openjdk-17-jre-headless", "java-17-openjdk-headless"),
)
LIBRARY: Final = re.compile(r"(lib[\w.+-]+\.so[\w.]*): cannot open shared object")
_JAVA: Final = re.compile(r"has no program java$")
# Release of Debian -> its Java.
_JAVA_OF_DEBIAN: Final = {"12": "openjdk-17-jre-headless", "13": "openjdk-21-jre-headless"}
_MODULE: Final = re.compile(r"^ModuleNotFoundError: No module named '([^']+)'")
_FEDORA_LIKE: Final = frozenset({"rhel", "ubi", "fedora", "centos", "rocky", "almalinux", "ol"})


def for_failure(what: str, release: str, os_release: Mapping[str, str]) -> str:
    """Return what to do about an import that failed, empty where only the sentence of Python helps."""
    if match := _MODULE.search(what):
        return for_module(match[1], release)
    if match := LIBRARY.search(what):
        return for_library(match[1], os_release)
    return f"Spark and Flink start Java: {java(os_release)}." if _JAVA.search(what) else ""


def java(os_release: Mapping[str, str]) -> str:
    """Return how an image gets Java."""
    like = {os_release.get("ID", ""), *os_release.get("ID_LIKE", "").split()}
    debian = _JAVA_OF_DEBIAN.get(os_release.get("VERSION_ID", "")) if os_release.get("ID") == "debian" else None
    if debian is None and not like & _FEDORA_LIKE:
        return "name its package in system_packages (in Debian: default-jre-headless)"
    return f"system_packages: [{debian or 'java-17-openjdk-headless'}]"


def for_module(name: str, release: str) -> str:
    """Return what to do about a module that the image does not have; ``release`` is Feast's."""
    top = name.partition(".")[0]
    if top == "feast":
        return _other_release(name, release)
    if top in _OF_TESTS:
        return "`feast apply` imports tests, too. Leave them out with repo.exclude or .feastignore."
    distributions = _distributions(name)
    if not distributions:
        return "Several packages bring this module. Name yours in 'packages' or 'requirements' of the spec."
    others = f" (or {', '.join(distributions[1:])})" if distributions[1:] else ""
    file = "" if top not in _OF_NOTEBOOKS else " If the file is not a definition, name it in .feastignore."
    return f"Name {distributions[0]}{others} in 'packages' or 'requirements' of the spec.{file}"


def _distributions(name: str) -> tuple[str, ...]:
    names = name.split(".")
    for length in range(len(names), 0, -1):
        if shared := _SHARED.get(".".join(names[:length])):
            return (shared,)
    if names[0] in ("google", "azure"):
        return ()
    return _DISTRIBUTIONS.get(names[0], (names[0].replace("_", "-"),))


def for_name(module: str, what: str, release: str) -> str:
    """Return what to do about a name that a module does not have; ``what`` is Python's sentence."""
    if module.partition(".")[0] == "feast":
        return _other_release(module, release)
    if "circular import" in what:
        return "Two files of the feature repo import each other. Move what both need into a third."
    return "The release in the image has another interface. Pin the one that the repo was developed with."


def _other_release(name: str, release: str) -> str:
    return (
        f"Feast {release} does not have it: {name} belongs to another release. Set feast.version to the release that "
        "the repo was developed with."
    )


def for_library(name: str, os_release: Mapping[str, str]) -> str:
    """Return which package of the image's distribution brings a shared library."""
    packages = next(((debian, rpm) for start, debian, rpm in _LIBRARIES if name.startswith(start)), None)
    like = {os_release.get("ID", ""), *os_release.get("ID_LIKE", "").split()}
    if packages is None:
        return f"Add the package that has {name} to system_packages, or take a package whose wheel brings it."
    debian, rpm = packages
    is_rpm, is_debian = bool(like & _FEDORA_LIKE), "debian" in like
    if is_rpm or (is_debian and debian):
        chosen = rpm if is_rpm else _of_release(debian, os_release)
        return f"Add it to the spec: system_packages: [{chosen}]." if chosen else f"UBI has no package with {name}."
    if is_debian:
        return f"Debian has no package with {name}. Take a package whose wheel brings it."
    return f"Add it to system_packages: {debian or 'no package'} in Debian, {rpm or 'no package'} in UBI."


def _of_release(package: str, os_release: Mapping[str, str]) -> str:
    """Return a package's name in this release of Debian: those with 64-bit time have a suffix from Debian 13 on."""
    changed = {"libglib2.0-0": "libglib2.0-0t64", "libaio1": "libaio1t64", "libcurl4": "libcurl4t64"}
    version = os_release.get("VERSION_ID", "12").partition(".")[0]
    return changed.get(package, package) if version.isdigit() and int(version) >= 13 else package  # noqa: PLR2004
