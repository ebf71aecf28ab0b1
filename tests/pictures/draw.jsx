// Draws one dashboard: time series, figures and tables by Grafana's own components; heatmaps and
// state timelines, which Grafana does not publish as components, by a plain sketch.
import {
  FieldType,
  ThemeContext,
  createTheme,
  dateTime,
  getDisplayProcessor,
  renderMarkdown,
  standardTransformers,
  standardTransformersRegistry,
  toDataFrame,
  transformDataFrame,
} from '@grafana/data';
import { BigValue, GlobalStyles, PanelChrome, Table, TimeSeries } from '@grafana/ui';
import { useEffect, useState } from 'react';
import { createRoot } from 'react-dom/client';

import answers from './answers.json';

const theme = createTheme({ colors: { mode: 'dark' } });
const dashboard = answers.find((one) => one.name === document.body.dataset.dashboard);
const [WIDTH, ROW, GAP] = [1600, 30, 8];
const COLUMN = (WIDTH - GAP) / 24;
const HEADER = 40;
const LINE = {
  drawStyle: 'line',
  lineInterpolation: 'linear',
  lineWidth: 1,
  fillOpacity: 0,
  showPoints: 'never',
  spanNulls: false,
  axisPlacement: 'auto',
  scaleDistribution: { type: 'linear' },
};

standardTransformersRegistry.setInit(() =>
  [standardTransformers.mergeTransformer, standardTransformers.organizeFieldsTransformer].map((t) => ({
    id: t.id,
    name: t.name,
    transformation: async () => t,
    editor: () => null,
  })),
);

const range = {
  from: dateTime(dashboard.from),
  to: dateTime(dashboard.to),
  raw: { from: dateTime(dashboard.from), to: dateTime(dashboard.to) },
};
const number = (text) => (Number.isFinite(Number(text)) ? Number(text) : null);

// What Grafana does before a panel sees its data: defaults, then overrides, then the formatter.
function configured(panel, refId, name) {
  const { defaults = {}, overrides = [] } = panel.fieldConfig ?? {};
  const config = structuredClone({ ...defaults, custom: { ...LINE, ...defaults.custom } });
  for (const { matcher, properties } of overrides) {
    const meant = { byFrameRefID: refId, byName: name }[matcher.id];
    if (meant !== matcher.options) continue;
    for (const { id, value } of properties) {
      if (id.startsWith('custom.')) config.custom[id.slice(7)] = value;
      else config[id] = value;
    }
  }
  if (config.thresholds) {
    config.thresholds.steps = config.thresholds.steps.map((s) => ({ ...s, value: s.value ?? -Infinity }));
  }
  return config;
}

function finished(field) {
  field.display = getDisplayProcessor({ field, theme, timeZone: 'utc' });
  return field;
}

function frames(panel) {
  const found = [];
  for (const { refId, series } of panel.answers) {
    for (const { name, points } of series) {
      const value = {
        name,
        type: FieldType.number,
        config: { ...configured(panel, refId, name), displayName: name },
        values: points.map((p) => number(p[1])),
        state: { seriesIndex: found.length, displayName: name },
      };
      const frame = toDataFrame({
        refId,
        name,
        fields: [{ name: 'Time', type: FieldType.time, config: {}, values: points.map((p) => p[0] * 1000) }, value],
      });
      frame.fields.forEach((field, index) => {
        field.state = index ? { seriesIndex: found.length, displayName: name } : {};
        finished(field);
      });
      found.push(frame);
    }
  }
  return found;
}

function Graph({ panel, width, height }) {
  const drawn = frames(panel);
  if (!drawn.length) return <Nothing panel={panel} />;
  return (
    <TimeSeries
      frames={drawn}
      timeRange={range}
      timeZone="utc"
      width={width}
      height={height}
      legend={panel.options.legend}
      options={panel.options}
    />
  );
}

function Figures({ panel, width, height }) {
  const drawn = frames(panel);
  if (!drawn.length) return <Nothing panel={panel} />;
  const long = (texts) => texts.reduce((a, b) => (b.length > a.length ? b : a), '');
  const longest = {
    title: long(drawn.map((frame) => frame.name)),
    text: long(
      drawn.map(({ fields: [, field] }) => {
        const { text, suffix = '' } = field.display(field.values.at(-1));
        return text + suffix;
      }),
    ),
  };
  return (
    <div style={{ display: 'flex', gap: 8 }}>
      {drawn.map((frame) => {
        const field = frame.fields[1];
        const value = field.display(field.values.at(-1));
        return (
          <BigValue
            key={frame.name}
            theme={theme}
            width={(width - 8 * (drawn.length - 1)) / drawn.length}
            height={height}
            value={{ ...value, title: frame.name }}
            colorMode={panel.options.colorMode}
            graphMode={panel.options.graphMode}
            justifyMode={panel.options.justifyMode}
            textMode={panel.options.textMode}
            count={drawn.length}
            alignmentFactors={longest}
          />
        );
      })}
    </div>
  );
}

function Rows({ panel, width, height }) {
  const [table, setTable] = useState();
  useEffect(() => {
    const read = panel.answers.map(({ refId, series }) =>
      toDataFrame({
        refId,
        fields: [
          { name: 'Time', type: FieldType.time, config: {}, values: series.map((s) => s.points[0][0] * 1000) },
          { name: 'model', type: FieldType.string, config: {}, values: series.map((s) => s.labels.model) },
          { name: `Value #${refId}`, type: FieldType.number, config: {}, values: series.map((s) => number(s.points[0][1])) },
        ],
      }),
    );
    const done = transformDataFrame(panel.transformations, read).subscribe(([merged]) => {
      for (const field of merged.fields) {
        const name = field.config.displayName ?? field.name;
        const config = configured(panel, undefined, name);
        field.config = { ...config, displayName: name, custom: { ...config.custom, filterable: false } };
        field.state = { displayName: name };
        finished(field);
      }
      setTable(merged);
    });
    return () => done.unsubscribe();
  }, [panel]);
  return table ? <Table data={table} width={width} height={height} /> : null;
}

// A sketch: which rows and colours there are, not how Grafana draws them.
function Heatmap({ panel, width, height }) {
  const series = panel.answers[0].series
    .map((one) => ({ le: Number(one.labels.le.replace('+Inf', 'Infinity')), points: new Map(one.points.map(([t, v]) => [t, Number(v) || 0])) }))
    .sort((a, b) => a.le - b.le);
  const times = [...series[0].points.keys()];
  const counts = series.map((one, i) =>
    times.map((t) => Math.max(0, one.points.get(t) - (i ? (series[i - 1].points.get(t) ?? 0) : 0))),
  );
  const used = series.map((_, i) => i).filter((i) => counts[i].some((c) => c > 0.5));
  const shown = series.map((_, i) => i).slice(Math.max(0, used[0] - 1), used.at(-1) + 2);
  const most = Math.max(...counts.flat());
  const unit = finished({ type: FieldType.number, config: { unit: panel.options.yAxis.unit }, values: [] });
  const cell = { w: (width - 70) / times.length, h: (height - 10) / shown.length };
  return (
    <svg width={width} height={height}>
      {shown.map((i, row) => (
        <g key={i} transform={`translate(70 ${height - 10 - (row + 1) * cell.h})`}>
          {row % 3 === 0 && (
            <text x={-6} y={4} textAnchor="end" fontSize={11} fill={theme.colors.text.secondary}>
              {unit.display(series[i].le).text + (unit.display(series[i].le).suffix ?? '')}
            </text>
          )}
          {counts[i].map((c, column) =>
            c > 0 ? (
              <rect key={column} x={column * cell.w} width={cell.w} height={cell.h} fill="#5794f2" opacity={Math.sqrt(c / most)} />
            ) : null,
          )}
        </g>
      ))}
    </svg>
  );
}

function States({ panel, width, height }) {
  const series = panel.answers[0].series;
  const states = panel.fieldConfig.defaults.mappings[0].options;
  const h = Math.min(26, height / series.length);
  return (
    <svg width={width} height={height}>
      {series.map(({ name, points }, row) => (
        <g key={name} transform={`translate(170 ${row * h})`}>
          <text x={-6} y={h / 2 + 4} textAnchor="end" fontSize={11} fill={theme.colors.text.secondary}>
            {name}
          </text>
          {points.map(([t, v]) => (
            <rect
              key={t}
              x={((t * 1000 - dashboard.from) / (dashboard.to - dashboard.from)) * (width - 175)}
              width={Math.ceil((width - 175) / points.length)}
              height={h - 4}
              fill={theme.visualization.getColorByName(states[v].color)}
            />
          ))}
        </g>
      ))}
    </svg>
  );
}

function Nothing({ panel }) {
  return <div style={{ display: 'grid', placeItems: 'center', height: '100%' }}>{panel.fieldConfig.defaults.noValue}</div>;
}

function Words({ panel }) {
  const text = panel.options.content.replace(/\$\{?(\w+)\}?/g, (all, name) => dashboard.words[name] ?? all);
  return <div className="markdown-html" dangerouslySetInnerHTML={{ __html: renderMarkdown(text) }} />;
}

const KINDS = { timeseries: Graph, stat: Figures, table: Rows, heatmap: Heatmap, 'state-timeline': States, text: Words };
const SKETCHES = new Set(['heatmap', 'state-timeline']);

function Panel({ panel }) {
  const { x = 0, y = 0, w, h } = panel.gridPos;
  const place = {
    position: 'absolute',
    left: GAP + x * COLUMN,
    top: HEADER + y * (ROW + GAP),
    width: w * COLUMN - GAP,
    height: h * (ROW + GAP) - GAP,
  };
  if (panel.type === 'row') return <h5 style={{ ...place, margin: 0, paddingTop: 6 }}>{panel.title}</h5>;
  const Kind = KINDS[panel.type];
  const items = SKETCHES.has(panel.type) ? <small style={{ opacity: 0.5 }}>(sketch)</small> : undefined;
  return (
    <div style={place}>
      <PanelChrome title={panel.title} description={panel.description} titleItems={items} width={place.width} height={place.height}>
        {(width, height) => <Kind panel={panel} width={width} height={height} />}
      </PanelChrome>
    </div>
  );
}

document.body.style.background = theme.colors.background.canvas;
document.body.style.width = `${WIDTH}px`;
createRoot(document.getElementById('root')).render(
  <ThemeContext.Provider value={theme}>
    <GlobalStyles />
    <h4 style={{ margin: 8 }}>{dashboard.title}</h4>
    {dashboard.panels.map((panel) => (
      <Panel key={panel.id} panel={panel} />
    ))}
  </ThemeContext.Provider>,
);
