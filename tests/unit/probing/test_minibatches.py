from __future__ import annotations

import torch
from sklearn.datasets import load_digits

from probe_problems import problem
from taskdepth.probing.minibatches import Minibatches, fit_in_minibatches
from taskdepth.probing.probes import fit_probes
from taskdepth.probing.problem import ProbeProblem, StreamedProblem
from taskdepth.probing.streaming import HeldRows
from taskdepth.probing.result import Extras
from dataclasses import fields

def streamed(given: ProbeProblem) -> StreamedProblem:
    about = {f.name: getattr(given, f.name) for f in fields(given) if f.name != "x"}
    return StreamedProblem(states=HeldRows(given.x), **about)

def digits():
    data, labels = load_digits(return_X_y=True)
    x = torch.tensor(data, dtype=torch.float32)
    return problem(x=torch.stack([x, x[:, :]*0+torch.randn(x.shape,generator=torch.Generator().manual_seed(0))]), y=torch.tensor(labels), n_classes=10, class_names=tuple("0123456789"))
def test_near():
    import time
    for given in (problem(), digits(), problem(n_classes=2)):
        l2s=[1.0,10.0,100.0]
        t=time.time()
        (exact,) = fit_probes([given], l2s=l2s, seed=0, accelerator="cpu", progress=False, extras=Extras(scores=("auroc",)))
        te=time.time()-t
        for s in (Minibatches(128,3e-3,100,5),Minibatches(128,1e-2,100,5)):
            t=time.time()
            (near,) = fit_in_minibatches([streamed(given)], s, l2s=l2s, seed=0, accelerator="cpu", progress=False, extras=Extras(scores=("auroc",)))
            print(s, time.time()-t, te)
            for r in (exact,near): print(r.accuracy.tolist(), r.control_task_accuracy.tolist(), r.l2.tolist(), r.scores)
