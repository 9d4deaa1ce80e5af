from lrsched_cli.trace import Trace as Trace
