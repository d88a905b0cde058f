-- resource.customizations.health.sluice.dev_GrpcPolicy
-- An ancestor is the route that the policy is for.
local seen = false
for _, ancestor in ipairs((obj.status or {}).ancestors or {}) do
  for _, condition in ipairs(ancestor.conditions or {}) do
    if condition.type == "Accepted" and condition.observedGeneration == obj.metadata.generation then
      if condition.status == "False" then
        return {status = "Degraded", message = ancestor.ancestorRef.name .. ": " .. condition.message}
      end
      seen = seen or condition.status == "True"
    end
  end
end
if seen then
  return {status = "Healthy", message = "Every route takes the policy"}
end
return {status = "Progressing", message = "Generation " .. obj.metadata.generation .. " has not been seen yet"}
