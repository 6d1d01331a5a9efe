"""Operator traces by class, on a synthetic trace of one layer."""

from __future__ import annotations

from pathlib import Path

import pytest

from accelsim.errors import ConfigError
from accelsim.measure.endtoend.optrace import class_of, compare_trace
from tests.reference import reference_file

_HEAD = "gpu,model,mode,batch,seq,idx,op,target,in_shapes,out_shape,fw_us,bw_us,acc_us\n"


def test_classes_add_up_over_one_layer(tmp_path: Path) -> None:
    """Sums by class beside ours, forward and backward; a model we lack has no figure."""
    path = tmp_path / "trace.csv"
    lines = [
        "A100-SXM4-80GB,gpt2_large,train,1,128,1,call_function,addmm,[],(),100.0,200.0,5.0",
        "A100-SXM4-80GB,gpt2_large,train,1,128,2,call_module,transformer.ln_f,[],(),30.0,30.0,0",
        "A100-SXM4-80GB,gpt2_large,train,1,128,3,call_function,matmul,[],(),40.0,60.0,0",
        "A100-SXM4-80GB,gpt9,inf,1,128,1,call_function,addmm,[],(),100.0,0.0,0.0",
    ]
    path.write_text(_HEAD + "\n".join(lines) + "\n")
    frame = compare_trace(path).set_index(["model", "class"])
    known = frame.loc["gpt2_large"]
    assert known["measured_ms"].to_dict() == pytest.approx(
        {"batched product": 0.1, "product": 0.3, "vector": 0.06}
    )
    assert (known["simulated_ms"] > 0).all()
    assert frame.loc["gpt9"]["simulated_ms"].isna().all()


def test_layers_of_every_family_have_classes() -> None:
    """Modules of BERT and GPT-2 as transformers names them."""
    assert class_of("call_module", "bert.encoder.layer.0.output.dense") == "product"
    assert class_of("call_module", "bert.encoder.layer.0.output.LayerNorm") == "vector"
    assert class_of("call_module", "transformer.wte") == "vector"


def test_a_missing_file_or_column_is_refused(tmp_path: Path) -> None:
    """The error names what is missing."""
    with pytest.raises(ConfigError, match="no such file"):
        compare_trace(tmp_path / "none.csv")
    path = tmp_path / "trace.csv"
    path.write_text("gpu,model\n")
    with pytest.raises(ConfigError, match="columns mode, batch"):
        compare_trace(path)


def test_the_real_traces_all_have_a_simulation() -> None:
    """Every traced model is in the library, on a board that has an architecture."""
    frame = compare_trace(reference_file("measured/neusight_e2e_optrace.csv.gz"))
    assert len(frame) > 50
    assert frame["simulated_ms"].notna().all()
