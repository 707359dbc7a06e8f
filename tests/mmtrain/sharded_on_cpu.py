"""mmtrain, sharded over CPU processes. accelerate shards over accelerators only: here CPUs pass.

Gloo sums where FSDP asks for a mean (pytorch issue 162338), so that FSDP is told to divide.
"""

import runpy
import sys

from accelerate import state
from accelerate.utils import DistributedType
from torch.distributed.fsdp._fully_shard import _fsdp_collectives as collectives

begin = state.PartialState.__init__


def as_accelerators(self, *arguments, **settings):
    begin(self, *arguments, **settings)
    if self.distributed_type == DistributedType.MULTI_CPU:
        self.distributed_type = DistributedType.MULTI_GPU


state.PartialState.__init__ = as_accelerators
factors = collectives._get_gradient_divide_factors
collectives._get_gradient_divide_factors = lambda *arguments: factors(*arguments[:5], True)
sys.argv[0] = "mmtrain"
runpy.run_module("mmtrain", run_name="__main__")
