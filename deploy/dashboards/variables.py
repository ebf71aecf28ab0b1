"""What a reader can choose at the top of a dashboard."""

from grafana_foundation_sdk.builders.dashboard import (
    DatasourceVariable,
    QueryVariable,
    TextBoxVariable,
)
from grafana_foundation_sdk.models.dashboard import (
    DataSourceRef,
    VariableOption,
    VariableRefresh,
    VariableSort,
)

from deploy.dashboards.links import RUNBOOKS
from service.monitoring.catalogue import REQUESTS
from service.settings import Settings

DATASOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
_ALL = ".+"
_OF_JOB = 'job=~"$job"'
_OF_INSTANCE = f'{_OF_JOB}, instance=~"$instance"'
_OF_MODEL = f'{_OF_INSTANCE}, model=~"$model"'


def datasource() -> DatasourceVariable:
    """Which Prometheus."""
    return (
        DatasourceVariable("datasource").label("Data source").type("prometheus").multi(multi=False)
    )


def job() -> QueryVariable:
    """Which jobs of Prometheus' configuration."""
    return _several("job", "Job", f"label_values({REQUESTS.name}, job)")


def instance() -> QueryVariable:
    """Which replicas."""
    return _several("instance", "Instance", _values("instance", _OF_JOB))


def models() -> QueryVariable:
    """Which models; all of them by default."""
    return _several("model", "Model", _values("model", _OF_INSTANCE))


def one_model() -> QueryVariable:
    """Which single model."""
    return _query("model", "Model", _values("model", _OF_INSTANCE))


def versions() -> QueryVariable:
    """Which versions of the model; all of them by default."""
    return _several("version", "Version", _values("version", _OF_MODEL))


def mlflow() -> TextBoxVariable:
    """Where MLflow is."""
    return TextBoxVariable("mlflow").label("MLflow").default_value(Settings().mlflow_ui)


def runbooks() -> TextBoxVariable:
    """Where the folder of runbooks can be read."""
    return TextBoxVariable("runbooks").label("Runbooks").default_value(RUNBOOKS)


def _values(label: str, matchers: str) -> str:
    return f"label_values({REQUESTS.name}{{{matchers}}}, {label})"


def _several(name: str, label: str, query: str) -> QueryVariable:
    everything = VariableOption(selected=True, text="All", value="$__all")
    chosen = _query(name, label, query).multi(multi=True).include_all(include_all=True)
    return chosen.all_value(_ALL).current(everything)


def _query(name: str, label: str, query: str) -> QueryVariable:
    return (
        QueryVariable(name)
        .label(label)
        .datasource(DATASOURCE)
        .query(query)
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.ALPHABETICAL_ASC)
    )
