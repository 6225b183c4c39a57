"""What is known of the functions and classes that pickles name: which act, and which only hold data.

In every table a name stands for itself and for all below it: `os` for `os.system`.
"""

from __future__ import annotations

import sys


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Modules of Python's standard library. Beside those of the Python at hand: what others have, before PEP 594 and PEP
# 632 removed it or Python 3 renamed it (Lib/_compat_pickle.py), and the other platforms' own.
STANDARD = sys.stdlib_module_names | _names(
    """
    _interpreters _pyrepl _winapi _winreg __builtin__ asynchat asyncore cgi cgitb commands copy_reg cPickle crypt
    cStringIO distutils exceptions httplib imp lib2to3 mailcap msilib msvcrt nis nntplib nt ossaudiodev pipes popen2
    posix SimpleHTTPServer SimpleXMLRPCServer smtpd SocketServer spwd StringIO telnetlib thread Tkinter urllib2
    urlparse UserDict UserList UserString uu winreg xdrlib xmlrpclib
    """
)

# Modules of the standard library that are one file: a module inside of them is of another package, which only has the
# same name. Those that people call their own folders.
ONE_FILE = _names("code copy inspect numbers platform profile queue random signal site statistics string trace types")

# What acts, so that a pickle which so much as names it is unsafe, though something else may be what calls it; no model
# needs any of it. The standard library's by its documentation, the rest by theirs: programs and remote shells,
# evaluators, other pickles' loaders, and what published bypasses of pickle scanners have used.
_ACTING: dict[str, str] = {
    "runs commands": """
        os posix nt subprocess _posixsubprocess pty commands popen2 asyncio multiprocessing _winapi webbrowser
        antigravity pydoc ensurepip venv distutils pipes platform.popen uuid._popen uuid._get_command_stdout
        concurrent.futures.process _osx_support _aix_support pip setuptools pkg_resources virtualenv conda pexpect
        ptyprocess paramiko fabric fabric2 invoke sh plumbum psutil docker ansible pytest _pytest nose tox nox
        execnet rpyc Pyro4 Pyro5 pyautogui selenium playwright win32api win32com win32process wmi comtypes py4j
        jpype torch.utils.collect_env torch.utils.cpp_extension torch.distributed.run torch.distributed.launch
        torch.distributed.launcher torch.distributed.elastic torch.distributed.rpc torch.multiprocessing
        torch._inductor torch.testing torch.utils.hipify numpy.distutils numpy.f2py numpy.testing""",
    "runs Python code that it is given": """
        builtins.eval builtins.exec builtins.compile builtins.execfile builtins.apply builtins.breakpoint
        builtins.input builtins.raw_input runpy code codeop bdb pdb timeit cProfile profile trace doctest idlelib
        lib2to3 unittest rlcompleter cgitb types.FunctionType types.CodeType types.LambdaType types.MethodType
        types.new_class collections.namedtuple typing.ForwardRef typing.get_type_hints logging.config sqlite3
        _sqlite3 IPython ipykernel Cython pyximport numexpr asteval jinja2 mako numba cupy pycuda sympy.sympify
        sympy.parsing sympy.utilities.lambdify sympy.core.sympify pandas.eval pandas.core.computation
        torch._dynamo.guards torch._dynamo.debug_utils torch.fx.graph_module torch.fx.experimental
        torch.jit.unsupported_tensor_ops torch.jit.frontend torch.jit.CompilationUnit torch.utils.bottleneck
        torch.utils.benchmark torch.utils.data.datapipes torch.package torch.library hydra.utils hydra._internal""",
    "imports whatever it is told to": """
        builtins.__import__ builtins.reload importlib _frozen_importlib _frozen_importlib_external _imp imp pkgutil
        zipimport modulefinder site torch._utils_internal numpy.core._ufunc_reconstruct
        numpy._core._ufunc_reconstruct transformers.dynamic_module_utils""",
    "loads further pickles or code": """
        pickle _pickle cPickle marshal shelve dbm dill _dill cloudpickle joblib.load joblib.numpy_pickle jsonpickle
        yaml.load yaml.unsafe_load yaml.full_load yaml.load_all yaml.unsafe_load_all yaml.full_load_all torch.load
        torch.serialization torch.jit.load torch.jit._serialization torch.hub torch.utils.model_zoo
        torch.export.load torch.utils._config_module torch.storage._load_from_bytes numpy.load numpy.lib.npyio
        numpy.lib._npyio_impl pandas.read_pickle pandas.io keras.models tensorflow.keras.models""",
    "opens network connections": """
        socket _socket ssl _ssl socketserver SocketServer http httplib urllib.request urllib.urlopen
        urllib.urlretrieve urllib2 smtplib smtpd ftplib telnetlib poplib imaplib nntplib xmlrpc xmlrpclib wsgiref
        asyncore asynchat logging.handlers requests aiohttp httpx urllib3 boto3 botocore websocket websockets
        twisted tornado flask django scrapy gdown wget smart_open fsspec kubernetes torchvision.datasets.utils""",
    "reads, writes or deletes files": """
        builtins.open builtins.file logging.FileHandler logging.basicConfig _io.open _io.open_code _io.FileIO
        io.open io.open_code io.FileIO _pyio codecs.open shutil tempfile zipfile tarfile zipapp fileinput linecache
        mmap compileall py_compile gzip bz2 lzma filecmp glob winreg _winreg torch.save torch.from_file
        torch.utils.tensorboard torch.utils.file_baton numpy.memmap numpy.fromfile numpy.loadtxt numpy.genfromtxt
        numpy.save numpy.savez numpy.savetxt numpy.DataSource""",
    "runs native code": """
        ctypes _ctypes cffi _cffi_backend llvmlite torch.ops.load_library torch.classes.load_library numpy.ctypeslib""",
    "reaches into the running interpreter": """
        sys gc atexit signal faulthandler builtins.globals builtins.locals builtins.vars builtins.setattr
        builtins.delattr operator.methodcaller _operator.methodcaller copyreg.add_extension copyreg.pickle
        weakref.finalize inspect.stack inspect.currentframe""",
}
ACTING: dict[str, str] = {name: does for does, names in _ACTING.items() for name in names.split()}

# Inside of ACTING and yet no more than text, numbers and Enum members.
HARMLESS = frozenset(
    {
        "os.path", "os.PathLike", "os.fspath", "http.HTTPStatus", "http.HTTPMethod", "signal.Signals", "sys.float_info",
        "torch.serialization._get_layout",
    }
)  # fmt: skip

# Functions that healthy pickles call; each only puts together what it is given. From the `__reduce__` methods of the
# standard library, torch (torch/_tensor.py, _utils.py, jit/_pickle.py and the weights-only loader's list), numpy
# (numpy/random/_pickle.py, numpy/ma/core.py), pandas (core/indexes, _libs) and scikit-learn.
CALLED_FUNCTIONS = _names(
    """
    array._array_reconstructor array.array functools.partial functools.partialmethod itertools.count
    itertools.cycle itertools.repeat logging.getLogger operator.attrgetter operator.itemgetter _operator.attrgetter
    _operator.itemgetter re._compile sre_compile.compile time.struct_time zoneinfo.ZoneInfo._unpickle
    zoneinfo._unpickle torch.device torch.finfo
    torch.fx.immutable_collections.immutable_dict torch.fx.immutable_collections.immutable_list torch.iinfo
    torch.nested._internal.nested_tensor._rebuild_njt torch.serialization._get_layout
    numpy._core.multiarray._reconstruct numpy._core.multiarray.scalar numpy._core.numeric._frombuffer
    numpy.core.multiarray._reconstruct numpy.core.multiarray.scalar numpy.core.numeric._frombuffer numpy.dtype
    numpy.ma.core._mareconstruct numpy.random.__RandomState_ctor numpy.random._pickle.__bit_generator_ctor
    numpy.random._pickle.__generator_ctor numpy.random._pickle.__randomstate_ctor
    pandas._libs.internals._unpickle_block pandas._libs.tslibs.timedeltas._timedelta_unpickle
    pandas._libs.tslibs.timestamps._unpickle_timestamp pandas.core.indexes.base._new_Index
    pandas.core.indexes.datetimes._new_DatetimeIndex pandas.core.indexes.period._new_PeriodIndex
    sklearn.metrics._dist_metrics.newObj sklearn.neighbors._ball_tree.newObj sklearn.neighbors._kd_tree.newObj
    """
)
CALLED_PREFIXES = ("torch._utils._rebuild_", "torch.jit._pickle.", "torch.return_types.")

# Of the standard library: classes that hold data, so that making one, or naming an Enum member by calling its class,
# does nothing else (docs.python.org/3/library, chapters on data types, numeric and text processing).
DATA_CLASSES = _names(
    """
    _collections _decimal _io.BytesIO _io.StringIO _random.Random argparse.Namespace array.array collections
    dataclasses datetime decimal fractions functools.partial functools.partialmethod http.HTTPStatus
    inspect._ParameterKind inspect.Parameter inspect.Signature io.BytesIO io.StringIO ipaddress logging.Filter
    logging.Formatter logging.Logger logging.LoggerAdapter logging.PercentStyle logging.RootLogger
    logging.StrFormatStyle optparse.Values pathlib random.Random re.RegexFlag signal.Signals string.Template time
    types.GenericAlias types.MappingProxyType types.NoneType types.SimpleNamespace types.UnionType urllib.parse uuid
    weakref.WeakKeyDictionary weakref.WeakValueDictionary weakref.WeakSet zoneinfo UserDict UserList UserString
    """
)
BUILTIN_DATA = _names(
    """
    bool bytearray bytes complex dict float frozenset int list long object range set slice str tuple unicode xrange
    """
)

# Of the standard library: modules whose functions and classes compute and do nothing else, so that a model may carry
# them, as an activation or a collate function.
COMPUTING = _names(
    """
    __builtin__ _codecs _functools _operator abc argparse array base64 binascii bisect builtins calendar cmath
    collections colorsys contextlib copy copyreg dataclasses datetime decimal difflib enum fractions functools
    hashlib heapq hmac html http inspect io _io ipaddress itertools json keyword locale logging math ntpath numbers
    operator optparse os pathlib posixpath pprint random re signal statistics string struct sys textwrap time types
    typing unicodedata urllib uuid warnings weakref zlib zoneinfo UserDict UserList UserString
    """
)

# Modules after which no package names a part of its own: a name that passes through one reaches that module itself,
# as `torch.serialization.os.system` does.
REACHED = _names(
    """
    __builtin__ _ctypes _io _pickle _posixsubprocess _socket asyncio atexit bdb builtins cPickle cProfile
    cloudpickle codeop compileall ctypes dill doctest ensurepip fileinput ftplib imaplib importlib linecache marshal
    mmap modulefinder nt os pdb pickle pkgutil posix pty pydoc runpy shutil smtplib socket socketserver sqlite3 ssl
    subprocess sys tarfile telnetlib tempfile timeit urllib webbrowser xmlrpc zipfile zipimport
    """
)
