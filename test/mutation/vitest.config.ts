import { defineConfig } from 'vitest/config'
import config from '../../vitest.config.js'

// Stryker cannot choose a project: these are the unit tests, with the model and the simulation.
const unit = config.test?.projects?.find(
  (project) => typeof project === 'object' && 'test' in project && project.test.name === 'unit',
)
const { test, ...rest } = unit as { test: { exclude: string[] } }
const exclude = test.exclude.map((pattern) => pattern.replace('model,simulation,', ''))
export default defineConfig({ ...rest, test: { ...test, exclude } })
