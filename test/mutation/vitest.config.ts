import { defineConfig } from 'vitest/config'
import config from '../../vitest.config.js'

// Stryker cannot choose a project: these are the unit tests.
const unit = config.test?.projects?.find(
  (project) => typeof project === 'object' && 'test' in project && project.test.name === 'unit',
)
export default defineConfig(unit as object)
