// @ts-nocheck: make.mjs installs its packages outside of the repository.
import { createRoot } from 'react-dom/client'
import '@fontsource/lato/400.css'
import '@fontsource/lato/700.css'
import { ThemeProvider } from '@mui/material'
import {
  ChartsProvider,
  generateChartsTheme,
  getTheme,
  SnackbarProvider,
} from '@perses-dev/components'
import { DatasourceStoreProvider, VariableProvider } from '@perses-dev/dashboards'
import {
  dynamicImportPluginLoader,
  PluginRegistry,
  TimeRangeProvider,
} from '@perses-dev/plugin-system'
import * as prometheus from '@perses-dev/prometheus-plugin'
import * as stat from '@perses-dev/stat-chart-plugin'
import * as timeseries from '@perses-dev/timeseries-chart-plugin'
import { QueryClient, QueryClientProvider } from '@tanstack/react-query'
import { colors } from './colors.mjs'
import { annotate, Incidents } from './incidents.jsx'
import { Box, values } from './panels.jsx'

/** What make.mjs passes: the dashboard, the titles of its panels to draw, and what Prometheus has recorded. */
const { dashboard, titles, theme: themeName, start, end, incidents } = window.picture
const ink = colors[themeName]

const theme = getTheme(themeName)
const chartsTheme = generateChartsTheme(theme, { echartsTheme: { color: ink.followers } })
const datasource = {
  kind: 'GlobalDatasource',
  metadata: { name: 'prometheus' },
  spec: {
    default: true,
    plugin: {
      kind: 'PrometheusDatasource',
      // The page has the origin of Prometheus.
      spec: { directUrl: location.origin, scrapeInterval: '1s' },
    },
  },
}
const datasourceApi = {
  getDatasource: () => Promise.resolve(undefined),
  getGlobalDatasource: () => Promise.resolve(datasource),
  listDatasources: () => Promise.resolve([]),
  listGlobalDatasources: () => Promise.resolve([datasource]),
  buildProxyUrl: () => '',
}
const pluginLoader = dynamicImportPluginLoader(
  [prometheus, timeseries, stat].map((plugin) => ({
    resource: plugin.getPluginModule(),
    importPlugin: () => Promise.resolve(plugin),
  })),
)
const queryClient = new QueryClient({
  defaultOptions: { queries: { refetchOnWindowFocus: false, retry: 0 } },
})

function Providers({ children }) {
  return (
    <ThemeProvider theme={theme}>
      <ChartsProvider chartsTheme={chartsTheme}>
        <SnackbarProvider>
          <PluginRegistry
            pluginLoader={pluginLoader}
            defaultPluginKinds={{
              Panel: 'TimeSeriesChart',
              TimeSeriesQuery: 'PrometheusTimeSeriesQuery',
            }}
          >
            <QueryClientProvider client={queryClient}>
              <TimeRangeProvider
                timeRange={{ start: new Date(start), end: new Date(end) }}
                refreshInterval="0s"
              >
                <VariableProvider>
                  <DatasourceStoreProvider
                    dashboardResource={{ kind: 'Dashboard', metadata: {}, spec: {} }}
                    datasourceApi={datasourceApi}
                  >
                    {children}
                  </DatasourceStoreProvider>
                </VariableProvider>
              </TimeRangeProvider>
            </QueryClientProvider>
          </PluginRegistry>
        </SnackbarProvider>
      </ChartsProvider>
    </ThemeProvider>
  )
}

function Title() {
  return (
    <div style={{ display: 'flex', margin: '4px 6px 8px', gap: 10, font: '400 14px Lato' }}>
      <h1 style={{ margin: 0, font: '700 19px Lato', flexGrow: 1 }}>{dashboard.title}</h1>
      {dashboard.templating.list.map(
        ({ name, label, includeAll }) =>
          values[name] && (
            <span key={name}>
              <span style={{ color: ink.soft }}>{label} </span>
              <span
                style={{ border: `1px solid ${ink.line}`, borderRadius: 3, padding: '1px 8px' }}
              >
                {includeAll ? 'All' : values[name]}
              </span>
            </span>
          ),
      )}
    </div>
  )
}

function Page() {
  const isWhole = titles.length === 0
  const panels = dashboard.panels.filter(({ title }) => isWhole || titles.includes(title))
  return (
    <div style={{ background: ink.page, color: ink.text, padding: 8 }}>
      {isWhole && <Title />}
      <Incidents incidents={incidents} ink={ink} />
      <div style={{ display: 'grid', gridTemplateColumns: 'repeat(24, minmax(0, 1fr))', gap: 8 }}>
        {panels.map((panel) => (
          <Box key={panel.id} panel={panel} ink={ink} />
        ))}
      </div>
    </div>
  )
}

// make.mjs calls it when all queries are answered.
window.annotate = () => annotate(incidents, ink)

createRoot(document.getElementById('root')).render(
  <Providers>
    <Page />
  </Providers>,
)
