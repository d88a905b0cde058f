-- resource.customizations.health.sluice.dev_GrpcService
-- Ready is the roll-up of everything else; its reason is that of the first thing in the way.
local passing = {Pending = true, Issuing = true, NoReadyProxy = true, AddressNotAssigned = true}

for _, condition in ipairs((obj.status or {}).conditions or {}) do
  if condition.type == "Ready" and condition.observedGeneration == obj.metadata.generation then
    if condition.status == "True" then
      return {status = "Healthy", message = condition.message}
    end
    local status = passing[condition.reason] and "Progressing" or "Degraded"
    return {status = status, message = condition.reason .. ": " .. condition.message}
  end
end
return {status = "Progressing", message = "Generation " .. obj.metadata.generation .. " has not been seen yet"}
