import { describe, expect, test } from 'vitest'
import { parseAllDocuments } from 'yaml'
import { listFiles, readJson, readText } from '../support/repository.js'

// What the folder of the sidecar says about its program. The program itself runs in sidecar.slow.test.ts.

const FOLDER = 'docs/examples/sidecar'
const program = listFiles(FOLDER)
  .filter((path) => path.endsWith('.mjs'))
  .map(readText)
  .join('\n')

interface Manifest {
  readonly name: string
  readonly version: string
  readonly engines: unknown
  readonly dependencies: Readonly<Record<string, string>>
  readonly devDependencies: Readonly<Record<string, string>>
}

const root = readJson('package.json') as Manifest
const own = readJson(`${FOLDER}/package.json`) as Manifest

describe('package.json', () => {
  test('lists the packages that the program imports, and the clients that sources need', () => {
    const imports = [...program.matchAll(/(?:\bfrom |\bimport\()'([^'.][^']*)'/g)]
    const clients = [...readText('src/environment/clients.ts').matchAll(/\bfind\('([^']+)'\)/g)]
    const packages = [...imports, ...clients].flatMap(([, specifier = '']) => {
      const [name] = /^(?:@[^/]+\/)?[^/]+/.exec(specifier) ?? []
      return specifier.startsWith('node:') || name === undefined ? [] : [name]
    })
    expect(clients).not.toEqual([])
    expect(Object.keys(own.dependencies)).toEqual([...new Set(packages)].sort())
  })

  test('asks for the versions that the tests run with', () => {
    const tested = { ...root.devDependencies, [root.name]: `^${root.version}` }
    const different = Object.entries(own.dependencies).filter(
      ([name, range]) => (tested[name] ?? range) !== range,
    )
    expect(different).toEqual([])
    expect(own.engines).toEqual(root.engines)
  })
})

interface Deployment {
  readonly kind: string
  readonly spec: {
    readonly replicas: number
    readonly template: {
      readonly metadata: { readonly annotations: Readonly<Record<string, string>> }
      readonly spec: {
        readonly securityContext: { readonly runAsNonRoot: boolean }
        readonly containers: readonly Container[]
        readonly volumes: readonly { readonly name: string }[]
      }
    }
  }
}

interface Container {
  readonly env: readonly { readonly name: string; readonly value: string }[]
  readonly ports: readonly { readonly name: string; readonly containerPort: number }[]
  readonly livenessProbe: { readonly httpGet: { readonly path: string; readonly port: string } }
  readonly volumeMounts: readonly { readonly name: string; readonly mountPath: string }[]
}

describe('kubernetes.yaml', () => {
  const documents = parseAllDocuments(readText(`${FOLDER}/kubernetes.yaml`))
  const [configMap, secret, deployment] = documents.map((document) => document.toJS() as unknown)
  const { spec } = deployment as Deployment
  const pod = spec.template.spec
  const [container] = pod.containers as [Container]

  test('is one pod, whose files are where its variables say', () => {
    expect(documents.flatMap(({ errors }) => errors)).toEqual([])
    expect(spec.replicas).toBe(1)
    expect(pod.containers).toHaveLength(1)
    const { data } = configMap as { data: Record<string, string> }
    const { stringData } = secret as { stringData: Record<string, string> }
    const files = new Map(
      [...Object.entries(data), ...Object.entries(stringData)].map(([name, text]) => {
        const volume = name in data ? 'config' : 'passwords'
        const mount = container.volumeMounts.find((each) => each.name === volume)
        return [`${mount?.mountPath}/${name}`, text]
      }),
    )
    const variables = new Map(container.env.map(({ name, value }) => [name, value]))
    const config = files.get(variables.get('REPLICATION_LAG_CONFIG') ?? '') ?? ''
    const { sources } = JSON.parse(config) as { sources: { passwordFile: string }[] }
    expect(sources).not.toEqual([])
    expect(sources.filter(({ passwordFile }) => !files.has(passwordFile))).toEqual([])
    expect(container.volumeMounts.map(({ name }) => name)).toEqual(
      pod.volumes.map(({ name }) => name),
    )
  })

  test('names the ports of the program and of the image, and a path that it serves', () => {
    const ports = new Map(container.ports.map(({ name, containerPort }) => [name, containerPort]))
    const dockerfile = readText(`${FOLDER}/Dockerfile`)
    const { httpGet } = container.livenessProbe
    expect(dockerfile).toContain(`\nEXPOSE ${[...ports.values()].join(' ')}\n`)
    // The exporter's own default.
    expect(ports.get('metrics')).toBe(9464)
    expect(spec.template.metadata.annotations['prometheus.io/port']).toBe('9464')
    expect(program).toContain(`Number(HEALTH_PORT) || ${ports.get(httpGet.port)}`)
    expect(program).toContain(`'${httpGet.path}'`)
  })

  test('runs as the user of the image, who is not root', () => {
    const dockerfile = readText(`${FOLDER}/Dockerfile`)
    expect(dockerfile).toContain('\nUSER node\n')
    expect(pod.securityContext).toMatchObject({ runAsNonRoot: true, runAsUser: 1000 })
  })
})
